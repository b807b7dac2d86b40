/**
 * What the client of POST /v1/responses sees of a turn: one response under our id, streamed or whole, stored before its
 * terminal event leaves.
 */
import { HomingError } from './model/error.ts'
import type { ResponseEvent } from './model/event.ts'
import type { StoredItem } from './model/item.ts'
import { isObject, type JsonObject } from './model/json.ts'
import { beginPatience, NO_PATIENCE } from './patience.ts'
import { recordOf } from './turn-record.ts'
import { failoversOf, type TurnRun } from './turn-run.ts'
import type { DispatchResult, Failover } from './upstream/dispatch.ts'
import { ResponsesRelay } from './upstream/responses-relay.ts'
import { cachedAtMost } from './wire/usage-shape.ts'

export async function answerResponses(run: TurnRun): Promise<void> {
  const { turn, sink, stages } = run
  const id = stages.newId('resp')
  const createdAtMs = stages.wallMs()
  const relay: ResponsesRelay = new ResponsesRelay(turn, sink, {
    resource: stages.newResource(turn, turn.effectiveTools, id, Math.floor(createdAtMs / 1000)),
    newId: stages.newId,
    nowSeconds: () => Math.floor(stages.wallMs() / 1000),
    headers: (pending) => ({ ...run.headers(pending), ...omittedHeader(relay.omitted) }),
  })
  const patience = turn.stream ? beginPatience(relay, stages.streamCommitAfterMs) : NO_PATIENCE
  let result: DispatchResult | null = null
  let failovers: readonly Failover[] = []
  let terminal: ResponseEvent
  try {
    result = await run.dispatch(relay)
    if (result.kind === 'cancelled') {
      const receipt = run.settle(result, relay, id, null)
      stages.receipts.put(run.turn, receipt)
      stages.observe(turn, receipt, result)
      return
    }
    terminal = relay.takeTerminal()
  } catch (error) {
    if (!(error instanceof HomingError) || !relay.committed) {
      run.noteRefusal(error, relay, id)
      throw error
    }
    terminal = relay.failCommitted(error.code, error.message)
    if (run.decision === null) return relay.finish(terminal) // nobody could be asked
    failovers = failoversOf(error)
  } finally {
    patience.stop()
  }
  let final = terminal['response'] as JsonObject
  if (isObject(final['usage']) && run.foundTokens < Infinity) {
    final = { ...final, usage: cachedAtMost(final['usage'], run.foundTokens) }
  }
  let receipt =
    result === null
      ? run.failedReceipt(relay, id, createdAtMs, failovers)
      : run.settle(result, relay, id, turn.store ? id : null)
  stages.receipts.put(run.turn, receipt)
  const diagnostics = await stages.diagnose(turn, receipt)
  if (diagnostics !== null) final = { ...final, prompt_cache_diagnostics: diagnostics }
  if (turn.store) {
    try {
      await stages.save(recordOf(turn, final, relay.output as readonly StoredItem[], receipt, createdAtMs))
    } catch (error) {
      const failure = storageFailure(error)
      receipt = { ...receipt, outcome: 'failed', trouble: 'the answer could not be stored' }
      stages.receipts.put(run.turn, receipt)
      if (!turn.stream) {
        stages.observe(turn, receipt, result)
        throw failure
      }
      const told = { code: 'server_error', message: failure.message }
      final = { ...final, status: 'failed', completed_at: null, incomplete_details: null, error: told }
      terminal = { ...terminal, type: 'response.failed' }
    }
  }
  if (turn.stream) relay.finish({ ...terminal, response: final })
  else {
    const body = JSON.stringify(final)
    sink.head(200, {
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(body)),
      ...run.headers(false),
      ...omittedHeader(relay.omitted),
    })
    sink.end(body)
  }
  stages.observe(turn, receipt, result)
}

export const storageFailure = (error: unknown): HomingError =>
  error instanceof HomingError
    ? error
    : new HomingError('storage_error', { why: error instanceof Error ? error.message : 'unknown' }, { cause: error })

/** Clients refuse answers with long heads, and a request may offer a hundred tools of 64 letters. */
const NAMED_IN_HEADER = 16
const omittedHeader = (omitted: readonly string[]): Record<string, string> => {
  if (omitted.length === 0) return {}
  const more = omitted.length - NAMED_IN_HEADER
  return { 'x-homing-omitted': omitted.slice(0, NAMED_IN_HEADER).join(', ') + (more > 0 ? `, and ${more} more` : '') }
}
