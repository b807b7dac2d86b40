/**
 * One turn on its way through schedule, dispatch and learn: what was decided, where it is, and what it owes. Ends with
 * `settle` where a backend answered, with `noteRefusal` where none did, and always with `close`.
 */
import type { Backend, Protocol } from './model/backend.ts'
import type { CancelSignal } from './model/cancellation.ts'
import type { Decision, Prepared, RankedBackend, SchedulingRequest } from './model/decision.ts'
import { HomingError } from './model/error.ts'
import type { StoredItem } from './model/item.ts'
import type { Outcome } from './model/outcome.ts'
import type { Receipt } from './model/receipt.ts'
import type { PlacedTurn, ResolvedTurn } from './model/turn.ts'
import { decisionHeaders, writeReceipt } from './receipt.ts'
import type { Stages } from './stages.ts'
import type { ClientSink } from './upstream/client-sink.ts'
import { dispatch, type DispatchResult, type Failover } from './upstream/dispatch.ts'
import type { Relay } from './upstream/relay.ts'

const IDLE = { running: 0, queuedTokens: 0, othersSeconds: 0 }

export type TurnRunParts = {
  readonly turn: ResolvedTurn
  readonly request: SchedulingRequest
  readonly charge: ReturnType<Stages['charge']>
  readonly sink: ClientSink
  readonly abort: CancelSignal
  readonly stages: Stages
}

export class TurnRun {
  readonly sink: ClientSink
  readonly stages: Stages
  #turn: ResolvedTurn
  #described: boolean
  readonly #request: SchedulingRequest
  readonly #charge: TurnRunParts['charge']
  readonly #abort: CancelSignal
  #decision: Decision | null = null
  #current: RankedBackend | null = null
  #loadAtDispatch = IDLE
  /** The turn as it is sent: with the model that answers, where the client asked for a group. */
  #placed: PlacedTurn | null = null
  /** Computed for it in pieces, whatever came of them. */
  #piecesTokens = 0

  constructor({ turn, request, charge, sink, abort, stages }: TurnRunParts) {
    this.#turn = turn
    this.#described = turn.fingerprint !== undefined
    this.sink = sink
    this.stages = stages
    this.#request = request
    this.#charge = charge
    this.#abort = abort
  }

  /** As the client asked for it. */
  get turn(): ResolvedTurn {
    return this.#turn
  }

  /** Null while nobody could be asked yet. */
  get decision(): Decision | null {
    return this.#decision
  }

  /** Waits for its place and sends it; rejects with a HomingError where no backend answered. */
  async dispatch(relay: Relay): Promise<DispatchResult> {
    const { turn, stages } = this
    const request = this.#request
    const decision = await stages.place(request, this.#abort, (backend, promptTokens, signal, model) =>
      this.#computePiece(backend, promptTokens, signal, model),
    )
    this.#decision = decision
    const hinted = { tenant: turn.tenant, sessionId: turn.session.id, priority: request.priority ?? 0 }
    let begun = false
    try {
      return await dispatch(
        {
          decision,
          requestId: turn.requestId,
          protocolFor: (backend) => this.#protocolFor(backend),
          signal: this.#abort,
          hinted,
        },
        relay,
        this.sink,
        {
          ...stages.dispatch,
          begin: (choice) => {
            begun = true
            this.#current = choice
            this.#loadAtDispatch = stages.load(choice.backend)
            if (!this.#described) stages.whenIdle(() => this.#describe())
            const placed = this.#placeAt(choice.model)
            return stages.begin(decision, choice, placed.request, placed.turn)
          },
        },
      )
    } finally {
      if (!begun) stages.release(decision)
    }
  }

  /** The model of the group that answers; null where the client named it, or nobody was asked yet. */
  get chosenModel(): string | null {
    return this.#request.choice === undefined ? null : (this.#current?.model ?? null)
  }

  headers(pending: boolean): Record<string, string> {
    return decisionHeaders(this.turn, this.#decision, pending ? null : this.#current)
  }

  /** Of this prompt, what was cached where it runs before pieces of it were computed there; Infinity without pieces. */
  get foundTokens(): number {
    return (this.#current === null ? null : this.#preparedAt(this.#current))?.foundTokens ?? Infinity
  }

  /** Closes the books of an attempt: ledger, budget, lineage, learning. Returns the receipt. */
  settle(result: DispatchResult, relay: Relay, id: string, storedId: string | null): Receipt {
    this.#describe()
    const { stages } = this
    const { choice } = result
    const asked = this.#turn
    const { turn, request } = this.#placeAt(choice.model)
    const decision = this.#decision!
    const prepared = this.#preparedAt(choice)
    const output = result.kind === 'cancelled' ? [] : (relay.output as readonly StoredItem[])
    const status = result.kind === 'cancelled' ? 'cancelled' : (relay.ended?.status ?? 'failed')
    result.inFlight.end(status === 'incomplete' ? 'completed' : status)
    const change = stages.prefixChange(turn) // before this turn is the last one
    const remember = status === 'completed' || status === 'incomplete'
    const fullChain = remember ? stages.remember(asked, { turn, request }, output, storedId, choice.backend) : turn.chain
    const first = result.firstOutputAtMs
    this.#charge.settle({
      promptTokens: relay.usage?.promptTokens ?? decision.promptTokens,
      cachedTokens: Math.min(relay.usage?.cachedTokens ?? choice.expectedCachedTokens, prepared?.foundTokens ?? Infinity),
      outputTokens: relay.usage?.outputTokens ?? relay.outputTokens,
    })
    const outcome: Outcome = {
      backend: choice.backend,
      model: turn.model,
      tenant: turn.tenant,
      sessionId: turn.session.id,
      status,
      promptChain: turn.chain,
      fullChain,
      expectedCachedTokens: choice.expectedCachedTokens,
      expectedPromptTokens: decision.promptTokens,
      preparedTokens: prepared?.tokens ?? 0,
      usage: relay.usage,
      awaits: output.some(({ type }) => type.endsWith('_call')) ? 'tool' : 'person',
      ttftMs: first === null ? null : first - result.dispatchedAtMs,
      decodeMs: first === null || result.lastOutputAtMs === null ? null : result.lastOutputAtMs - first,
      inFlightAtDispatch: this.#loadAtDispatch.running,
      queuedTokensAtDispatch: this.#loadAtDispatch.queuedTokens,
      othersSecondsAtDispatch: this.#loadAtDispatch.othersSeconds,
    }
    const { prewarmed, finding } = stages.learn(outcome, turn, { id, output, cut: relay.ended?.cut ?? null })
    return writeReceipt(asked, decision, id, stages.wallMs(), {
      choice,
      protocol: result.protocol,
      failovers: result.failovers,
      relay,
      status,
      prewarmed,
      timing: result,
      change,
      finding,
      left: { tokens: this.#request.homeTokens ?? 0, backendId: this.#request.homeBackendId },
    })
  }

  /** The receipt of a turn that no backend answered. */
  failedReceipt(relay: Relay, id: string, createdAtMs: number, failovers: readonly Failover[]): Receipt {
    return writeReceipt(this.turn, this.#decision!, id, createdAtMs, {
      choice: this.#current,
      protocol: null,
      failovers,
      relay,
      status: this.#abort.aborted ? 'cancelled' : 'failed',
      timing: null,
      change: () => 'unknown',
      finding: null,
      left: { tokens: 0, backendId: null },
    })
  }

  /** No backend answered: the turn is counted and logged all the same, where there was one to ask. */
  noteRefusal(error: unknown, relay: Relay, id: string): void {
    if (!(error instanceof HomingError) || this.#decision === null) return
    const receipt = this.failedReceipt(relay, id, this.stages.wallMs(), failoversOf(error))
    this.stages.observe(this.turn, { ...receipt, trouble: error.code }, null)
  }

  /** What nobody answered used nothing, or what was computed until its client left. Does nothing after `settle`. */
  close(): void {
    const computed = { promptTokens: this.#piecesTokens, cachedTokens: 0, outputTokens: 0 }
    this.#charge.settle(this.#abort.aborted ? computed : null)
  }

  /** What was too long to be read before the turn was sent. */
  #describe(): void {
    if (this.#described) return
    this.#described = true
    this.#turn = this.stages.fingerprint(this.#turn, false)
  }

  /** The turn for the model that answers it; one value a model, since its chain is known by identity. */
  #placeAt(model: string): PlacedTurn {
    const asked = { turn: this.#turn, request: this.#request }
    const option = this.#request.choice?.options.find((each) => each.model === model)
    if (option === undefined) return asked
    if (this.#placed?.request.model === model) return this.#placed
    this.#placed = {
      turn: { ...this.#turn, model, chain: option.chain },
      request: { ...this.#request, model, chain: option.chain },
    }
    return this.#placed
  }

  async #computePiece(backend: Backend, promptTokens: number, signal: CancelSignal | undefined, model: string) {
    const share = promptTokens / this.#request.promptTokens
    const done = await this.stages.prefill(this.#placeAt(model).turn, backend, this.#protocolFor(backend), share, signal)
    if (done === null) return null
    this.#piecesTokens += done.usage.promptTokens - (done.usage.cachedTokens ?? done.usage.promptTokens)
    return { ...done.usage, ms: done.ms }
  }

  #preparedAt(choice: RankedBackend): Prepared | null {
    const decision = this.#decision
    return decision !== null && choice === decision.ranked[0] ? (decision.prepared ?? null) : null
  }

  /** One protocol per conversation where the backend speaks it, else Chat where it exists. */
  #protocolFor(backend: Backend): Protocol {
    const kept = this.#request.protocol
    if (this.turn.endpoint === 'chat') return 'chat'
    if (kept !== null && backend.protocols.has(kept)) return kept
    return backend.protocols.has('chat') ? 'chat' : 'responses'
  }
}

/** Backends that failed before the turn was given up. */
export const failoversOf = (error: HomingError): readonly Failover[] =>
  (error as { failovers?: readonly Failover[] }).failovers ?? []
