/** The log, lines of JSON on standard output, and what it says of a turn. */
import { createHash } from 'node:crypto'
import { pino } from 'pino'
import type { Config } from '../config.ts'
import type { Receipt } from '../model/receipt.ts'

const LOG_FLUSH_MS = 100

export function openLog(level: Config['log']['level']) {
  // buffered: one write per line would be a sixth of a turn's cost; what is left is written at the latest after LOG_FLUSH_MS
  const logSink = pino.destination({ fd: 1, sync: false, minLength: 16_000 })
  const log = pino({ level, base: null }, logSink)
  const flushLog = setInterval(() => logSink.flush(), LOG_FLUSH_MS).unref()
  return { log, logSink, flushLog }
}

/** What a client called its session may name a person: only that two are the same is told. */
const sessionName = ({ id, source }: Receipt['session']): string =>
  source === 'header' || source === 'agent'
    ? `${source}:${createHash('sha256').update(id).digest('hex').slice(0, 16)}`
    : id

/** What operators read; ids and numbers only. */
export function logLine(tenant: string, receipt: Receipt): object {
  return {
    id: receipt.id,
    request_id: receipt.requestId,
    tenant,
    endpoint: receipt.endpoint,
    model: receipt.model,
    session: sessionName(receipt.session),
    session_source: receipt.session.source,
    backend: receipt.backendId,
    reason: receipt.reason,
    cache: receipt.cache.why,
    missed_tokens: receipt.cache.missedTokens ?? undefined,
    outcome: receipt.outcome,
    trouble: receipt.trouble ?? undefined,
    prompt_tokens: receipt.promptTokens.actual,
    cached_tokens: receipt.cachedTokens.actual,
    expected_cached_tokens: receipt.cachedTokens.expected,
    output_tokens: receipt.outputTokens,
    ttft_ms: receipt.ttftMs,
    total_ms: receipt.totalMs,
    queued_ms: receipt.queuedMs,
    decide_us: Math.round(receipt.decideMicroseconds),
    failovers: receipt.failovers.length === 0 ? undefined : receipt.failovers,
  }
}
