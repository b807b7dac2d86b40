/**
 * THE SPINE. One turn, from its validated form to its last byte:
 *
 *   Turn -> resolve -> ResolvedTurn -> schedule -> Decision -> dispatch + relay -> store -> last byte -> learn
 *
 * Each stage returns a new value; none edits what it was given. Resolve and schedule may refuse the client (HomingError
 * with a status), and so does a tenant's token budget between the two. Dispatch may try several backends until output is visible. The response is stored before its terminal
 * event leaves, so whatever a client saw finished is there after a crash. Learning is never seen by the client.
 */
import type { Backend, Protocol } from './model/backend.ts'
import { Cancellation } from './model/cancellation.ts'
import type { Decision, RankedBackend } from './model/decision.ts'
import { HomingError } from './model/error.ts'
import type { StoredItem } from './model/item.ts'
import { isObject, type JsonObject } from './model/json.ts'
import type { Outcome } from './model/outcome.ts'
import type { Receipt } from './model/receipt.ts'
import type { Turn } from './model/turn.ts'
import type { PrefillPiece } from './schedule/ports.ts'
import { decisionHeaders, writeReceipt } from './receipt.ts'
import type { Stages } from './stages.ts'
import { recordOf } from './turn-record.ts'
import { ChatRelay } from './upstream/chat-relay.ts'
import type { ClientSink } from './upstream/client-sink.ts'
import { dispatch, type DispatchResult, type Failover } from './upstream/dispatch.ts'
import { ResponsesRelay } from './upstream/responses-relay.ts'
import { lessCached } from './wire/usage-shape.ts'

const KEEP_ALIVE_MS = 15_000
const IDLE = { running: 0, queuedTokens: 0, othersSeconds: 0 }

/** Rejects with a HomingError when nothing has been sent; otherwise the client has had its ending. */
export async function serveTurn(turn: Turn, sink: ClientSink, stages: Stages): Promise<void> {
  const abort = new Cancellation()
  sink.onClosed(() => abort.abort())
  const resolved = await stages.resolve(turn)
  if (abort.aborted) return // nobody waits any more
  const request = stages.schedulingRequest(resolved)
  const charge = stages.charge(request)
  const protocolFor = (backend: Backend): Protocol => protocolOf(backend, turn, request.protocol)
  let piecesTokens = 0
  const prefillPiece: PrefillPiece = async (backend, promptTokens, signal) => {
    const share = promptTokens / request.promptTokens
    const done = await stages.prefill(resolved, backend, protocolFor(backend), share, signal)
    if (done === null) return null
    piecesTokens += done.usage.promptTokens - (done.usage.cachedTokens ?? done.usage.promptTokens)
    return { ...done.usage, ms: done.ms }
  }
  const hinted = { tenant: turn.tenant, sessionId: resolved.session.id, priority: request.priority ?? 0 }
  let decision: Decision | null = null
  let current: RankedBackend | null = null
  let loadAtDispatch = IDLE
  const run = async (relay: ChatRelay | ResponsesRelay): Promise<DispatchResult> => {
    const placed = await stages.place(request, abort, prefillPiece)
    decision = placed
    let begun = false
    try {
      return await dispatch(
        { decision: placed, model: turn.model, requestId: turn.requestId, protocolFor, signal: abort, hinted },
        relay,
        sink,
        {
          ...stages.dispatch,
          begin: (choice) => {
            begun = true
            current = choice
            loadAtDispatch = stages.load(choice.backend)
            return stages.begin(placed, choice, request, resolved)
          },
        },
      )
    } finally {
      if (!begun) stages.release(placed)
    }
  }
  const headers = (pending: boolean): Record<string, string> =>
    decisionHeaders(turn, decision, pending ? null : current)
  try {
    if (turn.endpoint === 'chat') await answerChat()
    else await answerResponses()
  } catch (error) {
    if (!abort.aborted || error instanceof HomingError) throw error // a client that left while it waited is told nothing
  } finally {
    // Nobody answered: it used nothing, or what was computed until its client left.
    charge.settle(abort.aborted ? { promptTokens: piecesTokens, cachedTokens: 0, outputTokens: 0 } : null)
  }

  async function answerChat(): Promise<void> {
    const relay: ChatRelay = new ChatRelay(resolved, sink, headers, () =>
      current === null ? 0 : preparedFor(current),
    )
    const patience = beginPatience(relay)
    let result
    try {
      result = await run(relay)
    } catch (error) {
      if (!(error instanceof HomingError) || !relay.committed) return refused(error, relay, stages.newId('resp'))
      noteRefusal(error, relay, stages.newId('resp'))
      return relay.failCommitted(error)
    } finally {
      patience.stop()
    }
    const id = relay.answerId ?? stages.newId('resp')
    const receipt = settle(result, relay, id, relay.output as readonly StoredItem[], null)
    stages.receipts.put(turn.tenant, receipt)
    if (result.kind === 'answered') relay.finish()
    stages.observe(resolved, receipt, result)
  }

  async function answerResponses(): Promise<void> {
    const id = stages.newId('resp')
    const createdAtMs = stages.wallMs()
    const resource = stages.newResource(turn, resolved.effectiveTools, id, Math.floor(createdAtMs / 1000))
    const relay: ResponsesRelay = new ResponsesRelay(resolved, sink, {
      resource,
      newId: stages.newId,
      nowSeconds: () => Math.floor(stages.wallMs() / 1000),
      headers: (pending) => ({ ...headers(pending), ...omittedHeader(relay.omitted) }),
    })
    const patience = beginPatience(relay)
    let result: DispatchResult | null = null
    let failovers: readonly Failover[] = []
    let terminal
    try {
      result = await run(relay)
      if (result.kind === 'cancelled') {
        const receipt = settle(result, relay, id, [], null)
        stages.receipts.put(turn.tenant, receipt)
        stages.observe(resolved, receipt, result)
        return
      }
      terminal = relay.takeTerminal()
    } catch (error) {
      if (!(error instanceof HomingError) || !relay.committed) return refused(error, relay, id)
      if (decision === null) return relay.finish(relay.failCommitted(error.code, error.message)) // nobody could be asked
      failovers = (error as { failovers?: readonly Failover[] }).failovers ?? []
      terminal = relay.failCommitted(error.code, error.message)
    } finally {
      patience.stop()
    }
    let final = terminal['response'] as JsonObject
    const prepared = result === null ? 0 : preparedFor(result.choice)
    if (prepared > 0 && isObject(final['usage'])) final = { ...final, usage: lessCached(final['usage'], prepared) }
    const output = relay.output as readonly StoredItem[]
    let receipt =
      result === null
        ? writeReceipt(resolved, decision!, id, createdAtMs, {
            choice: null,
            protocol: null,
            failovers,
            relay,
            status: 'failed',
            timing: null,
            ...UNLEARNT,
          })
        : settle(result, relay, id, output, turn.store ? id : null)
    stages.receipts.put(turn.tenant, receipt)
    const diagnostics = await stages.diagnose(resolved, receipt)
    if (diagnostics !== null) final = { ...final, prompt_cache_diagnostics: diagnostics }
    if (turn.store) {
      try {
        await stages.save(recordOf(resolved, final, output, receipt, createdAtMs))
      } catch (error) {
        const failure =
          error instanceof HomingError
            ? error
            : new HomingError(
                'storage_error',
                { why: error instanceof Error ? error.message : 'unknown' },
                { cause: error },
              )
        receipt = { ...receipt, outcome: 'failed', trouble: 'the answer could not be stored' }
        stages.receipts.put(turn.tenant, receipt)
        if (!turn.stream) {
          stages.observe(resolved, receipt, result)
          throw failure
        }
        final = {
          ...final,
          status: 'failed',
          completed_at: null,
          incomplete_details: null,
          error: { code: 'server_error', message: failure.message },
        }
        terminal = { ...terminal, type: 'response.failed' }
      }
    }
    if (turn.stream) relay.finish({ ...terminal, response: final })
    else {
      const body = JSON.stringify(final)
      sink.head(200, {
        'content-type': 'application/json',
        'content-length': String(Buffer.byteLength(body)),
        ...headers(false),
        ...omittedHeader(relay.omitted),
      })
      sink.end(body)
    }
    stages.observe(resolved, receipt, result)
  }

  /** Tokens of this prompt that were computed at the first choice just before: cached there, and not before the turn came. */
  function preparedFor(choice: RankedBackend): number {
    return decision !== null && choice === decision.ranked[0] ? (decision.prepared?.tokens ?? 0) : 0
  }

  /** No backend answered and the client is told by status: the turn is counted and logged all the same. */
  function refused(error: unknown, relay: ChatRelay | ResponsesRelay, id: string): never {
    if (error instanceof HomingError) noteRefusal(error, relay, id)
    throw error
  }

  function noteRefusal(error: HomingError, relay: ChatRelay | ResponsesRelay, id: string): void {
    if (decision === null) return
    const { failovers = [] } = error as { failovers?: readonly Failover[] }
    const receipt = writeReceipt(resolved, decision, id, stages.wallMs(), {
      choice: current,
      protocol: null,
      failovers,
      relay,
      status: abort.aborted ? 'cancelled' : 'failed',
      timing: null,
      ...UNLEARNT,
    })
    stages.observe(resolved, { ...receipt, trouble: error.code }, null)
  }

  /** After `streamCommitAfterMs` without output the stream is opened all the same, and kept alive by comments. */
  function beginPatience(relay: ChatRelay | ResponsesRelay): { stop(): void } {
    if (!turn.stream) return { stop() {} }
    let timer = setTimeout(() => {
      if (relay.visible) return
      relay.commitEarly()
      timer = setInterval(() => {
        if (relay.visible) clearInterval(timer)
        else relay.keepAlive()
      }, KEEP_ALIVE_MS).unref()
    }, stages.streamCommitAfterMs).unref()
    return { stop: () => clearTimeout(timer) }
  }

  /** Closes the books of an attempt: ledger, lineage, learning, receipt. */
  function settle(
    result: DispatchResult,
    relay: ChatRelay | ResponsesRelay,
    id: string,
    output: readonly StoredItem[],
    storedId: string | null,
  ): Receipt {
    const status = result.kind === 'cancelled' ? 'cancelled' : (relay.ended?.status ?? 'failed')
    result.inFlight.end(status === 'incomplete' ? 'completed' : status)
    const change = stages.prefixChange(resolved) // before this turn is the last one
    const remember = status === 'completed' || status === 'incomplete'
    const fullChain = remember ? stages.remember(resolved, output, storedId, result.choice.backend, request) : resolved.chain
    const first = result.firstOutputAtMs
    const cachedTokens = relay.usage?.cachedTokens ?? result.choice.expectedCachedTokens
    charge.settle({
      promptTokens: relay.usage?.promptTokens ?? decision!.promptTokens,
      cachedTokens: Math.max(0, cachedTokens - preparedFor(result.choice)),
      outputTokens: relay.usage?.outputTokens ?? relay.outputTokens,
    })
    const outcome: Outcome = {
      backend: result.choice.backend,
      model: turn.model,
      tenant: turn.tenant,
      sessionId: resolved.session.id,
      status,
      promptChain: resolved.chain,
      fullChain,
      expectedCachedTokens: result.choice.expectedCachedTokens,
      expectedPromptTokens: decision!.promptTokens,
      preparedTokens: preparedFor(result.choice),
      usage: relay.usage,
      awaits: output.some(({ type }) => type.endsWith('_call')) ? 'tool' : 'person',
      ttftMs: first === null ? null : first - result.dispatchedAtMs,
      decodeMs: first === null || result.lastOutputAtMs === null ? null : result.lastOutputAtMs - first,
      inFlightAtDispatch: loadAtDispatch.running,
      queuedTokensAtDispatch: loadAtDispatch.queuedTokens,
      othersSecondsAtDispatch: loadAtDispatch.othersSeconds,
    }
    const { prewarmed, finding } = stages.learn(outcome, resolved)
    return writeReceipt(resolved, decision!, id, stages.wallMs(), {
      choice: result.choice,
      protocol: result.protocol,
      failovers: result.failovers,
      relay,
      status,
      prewarmed,
      timing: result,
      change,
      finding,
      left: { tokens: request.homeTokens ?? 0, backendId: request.homeBackendId },
    })
  }
}

/** Of a turn that no backend answered. */
const UNLEARNT = { change: () => 'unknown' as const, finding: null, left: { tokens: 0, backendId: null } }

/** One protocol per conversation where the backend speaks it, else Chat where it exists. */
function protocolOf(backend: Backend, turn: Turn, kept: Protocol | null): Protocol {
  if (turn.endpoint === 'chat') return 'chat'
  if (kept !== null && backend.protocols.has(kept)) return kept
  return backend.protocols.has('chat') ? 'chat' : 'responses'
}

/** Clients refuse answers with long heads, and a request may offer a hundred tools of 64 letters. */
const NAMED_IN_HEADER = 16
const omittedHeader = (omitted: readonly string[]): Record<string, string> => {
  if (omitted.length === 0) return {}
  const more = omitted.length - NAMED_IN_HEADER
  return { 'x-homing-omitted': omitted.slice(0, NAMED_IN_HEADER).join(', ') + (more > 0 ? `, and ${more} more` : '') }
}
