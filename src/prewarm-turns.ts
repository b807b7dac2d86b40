/**
 * Turns as pre-warming sees them: which conversation one belongs to, what the next one will begin with, what was computed
 * ahead for it. Between the spine, which reports each turn's beginning and end, and `upstream/prewarm*`.
 *
 * A pre-warm is never a turn: it has no receipt, is not stored, and teaches the block index and the latency model only.
 */
import type { Backend, Protocol } from './model/backend.ts'
import type { InFlight, RankedBackend, SchedulingRequest } from './model/decision.ts'
import type { ConversationItem } from './model/item.ts'
import type { Outcome } from './model/outcome.ts'
import type { BlockChain, GrowingChain, ResolvedTurn } from './model/turn.ts'
import type { PrewarmAccount } from './upstream/prewarm-account.ts'
import type { Foresight } from './upstream/prewarm-foresight.ts'
import type { PrewarmPrompt } from './upstream/prewarm-request.ts'
import type { Prewarmer } from './upstream/prewarm.ts'

export type PrewarmTurnPorts = {
  readonly prewarmer: Pick<Prewarmer<PrewarmPrompt>, 'turnBegins' | 'turnMoved' | 'lost'>
  readonly account: Pick<PrewarmAccount, 'dispatched' | 'settle' | 'emptied'>
  readonly foresight: Pick<Foresight<PrewarmPrompt>, 'began' | 'ended' | 'dropped' | 'lost' | 'shared'>
  /** To be told of every turn before its blocks are entered. The longest prefix that it shares with so many sessions. */
  readonly groupOf: (
    request: SchedulingRequest,
    leastSessions: number,
  ) => { readonly hash: string; readonly chain: BlockChain } | null
  readonly waitSeconds: (backendIndex: number) => number
  readonly charactersPerToken: (model: string) => number
  readonly itemCharacters: (item: ConversationItem) => number
  /** Some backend may be warmed for this tenant and model; where none may, nothing is remembered. */
  readonly isWanted: (tenant: string, model: string) => boolean
}

export class PrewarmTurns {
  readonly #ports: PrewarmTurnPorts

  constructor(ports: PrewarmTurnPorts) {
    this.#ports = ports
  }

  /** Before the turn is sent: nothing is computed ahead there any more. */
  begins(turn: ResolvedTurn, request: SchedulingRequest, { backend }: RankedBackend): void {
    const { prewarmer, account, foresight, waitSeconds, isWanted } = this.#ports
    const key = keyOf(turn)
    const group = this.#ports.groupOf(request, HOT_SESSIONS)
    prewarmer.turnBegins(key, backend.index)
    account.dispatched(request.chain, backend.index)
    if (!isWanted(turn.tenant, turn.model)) return
    const prompt = promptOf(turn, [], request.protocol)
    const next = this.#next(request, request.chain, backend)
    foresight.began({ key, request: next, prompt, home: backend }, waitSeconds(backend.index))
    if (group === null || request.homeBackendId !== null) return
    // another session like this one: where would the next go?
    const share = Math.min(1, (group.chain.length * group.chain.blockCharacters) / request.chain.totalCharacters)
    const another = { ...this.#next(request, group.chain, null), sessionId: group.hash }
    foresight.shared(`prefix ${group.hash}`, another, { ...prompt, share })
  }

  /** A part of its prompt is sent. */
  pieceBegins(turn: ResolvedTurn, backend: Backend): void {
    this.#ports.prewarmer.turnBegins(keyOf(turn), backend.index)
  }

  /** Tells of what happens to a turn in flight: a backend may have become idle. */
  watched(inFlight: InFlight): InFlight {
    const { prewarmer } = this.#ports
    return {
      firstToken: () => {
        inFlight.firstToken()
        prewarmer.turnMoved()
      },
      tokens: (n) => inFlight.tokens(n),
      end: (outcome) => {
        inFlight.end(outcome)
        prewarmer.turnMoved()
      },
    }
  }

  /** An answered turn; `chain` is its prompt and answer. */
  ended(
    turn: ResolvedTurn,
    output: readonly ConversationItem[],
    chain: GrowingChain,
    request: SchedulingRequest,
    home: Backend,
  ): void {
    const { foresight, isWanted } = this.#ports
    if (!isWanted(turn.tenant, turn.model)) return
    const calls = output.some(({ type }) => type === 'function_call' || type === 'custom_tool_call')
    const prompt = promptOf(turn, output, request.protocol)
    const conversation = { key: keyOf(turn), request: this.#next(request, chain, home), prompt, home }
    foresight.ended(conversation, calls ? 'tool' : 'person', calls ? 0 : this.#droppedTokens(turn, output))
  }

  /** True where the turn found what was computed ahead for it. */
  settled(outcome: Outcome, turn: ResolvedTurn): boolean {
    if (outcome.status === 'failed' || outcome.status === 'cancelled') this.#ports.foresight.dropped(keyOf(turn))
    return this.#ports.account.settle(outcome)
  }

  /** A backend takes no turns any more. */
  lost(backend: Backend): void {
    this.#ports.prewarmer.lost(backend.index)
    this.#ports.foresight.lost(backend)
  }

  /** A backend's cache is empty. */
  emptied(backend: Backend): void {
    this.#ports.prewarmer.lost(backend.index)
    this.#ports.account.emptied(backend.index)
  }

  #next(request: SchedulingRequest, chain: BlockChain, home: Backend | null): SchedulingRequest {
    return {
      endpoint: request.endpoint,
      tenant: request.tenant,
      model: request.model,
      chain,
      promptTokens: chain.totalCharacters / this.#ports.charactersPerToken(request.model),
      maxOutputTokens: null,
      sessionId: request.sessionId,
      homeBackendId: home?.id ?? null,
      protocol: request.protocol,
      needsVision: request.needsVision,
      exclude: NONE,
    }
  }

  /** Tokens behind the first thought since a person spoke: when one speaks again they stand elsewhere in the prompt. */
  #droppedTokens(turn: ResolvedTurn, output: readonly ConversationItem[]): number {
    const items = [...turn.context, ...output]
    const spoken = items.findLastIndex((item) => item.type === 'message' && item['role'] === 'user')
    const thought = items.findIndex((item, at) => at > spoken && item.type === 'reasoning')
    if (thought < 0) return 0
    let characters = 0
    for (let at = thought; at < items.length; at++)
      if (items[at]!.type !== 'reasoning') characters += this.#ports.itemCharacters(items[at]!)
    return characters / this.#ports.charactersPerToken(turn.model)
  }
}

/** As many as make a trunk that pins nobody (schedule/scorers/regret.ts). */
const HOT_SESSIONS = 3
const NONE: ReadonlySet<string> = new Set()
const keyOf = (turn: ResolvedTurn): string => `${turn.tenant}\u0000${turn.session.id}`

const promptOf = (turn: ResolvedTurn, output: readonly ConversationItem[], protocol: Protocol | null): PrewarmPrompt => ({
  turn,
  output,
  protocol: protocol ?? 'chat',
  share: 1,
})
