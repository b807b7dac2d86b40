/**
 * KV events along the path of a turn: what they claim when it is sent, whether the answer agrees, and the question for its
 * tokens afterwards. Nothing here is seen by a client; without events every method returns at once.
 */
import type { ChainMaker } from './conversation/resolve.ts'
import type { ExactResidency, ResidencyClaim } from './kv/events/exact-residency.ts'
import type { TokenSource } from './kv/events/token-source.ts'
import type { Backend } from './model/backend.ts'
import type { InFlight } from './model/decision.ts'
import type { ConversationItem } from './model/item.ts'
import type { Outcome } from './model/outcome.ts'
import type { Usage } from './model/usage.ts'
import type { BlockChain, GrowingChain, ResolvedTurn } from './model/turn.ts'
import { saltSent } from './upstream/retention-hints.ts'
import { isSystem, renderTokenize } from './wire/render-tokenize.ts'

export type ExactTurnsPorts = {
  readonly residency: ExactResidency
  readonly source: TokenSource
  readonly chains: ChainMaker
  /** Blocks of the chain that history takes for held there; cut where events know better. */
  readonly index: { truncate(chain: BlockChain, backendIndex: number, keepBlocks: number): void }
  readonly nowMs: () => number
  /** A tie was proven, or failed to be. */
  readonly onProof: () => void
}

export class ExactTurns {
  readonly #ports: ExactTurnsPorts
  /** One entry a turn in flight at a backend with events. */
  readonly #claims = new Map<BlockChain, { readonly claim: ResidencyClaim | null; readonly dispatchedAtMs: number }>()
  /** The turn whose outcome comes next: a turn is remembered and learned from in one step. */
  #answered: { readonly turn: ResolvedTurn; readonly output: readonly ConversationItem[]; readonly chain: BlockChain } | null = null

  constructor(ports: ExactTurnsPorts) {
    this.#ports = ports
  }

  /** Before a turn is sent, so that its own blocks do not count. */
  dispatching(chain: BlockChain, backend: Backend): () => void {
    if (backend.config.kvEvents === undefined) return NOTHING
    const { residency, index, nowMs } = this.#ports
    const claim = residency.claim(chain, backend)
    this.#claims.set(chain, { claim, dispatchedAtMs: nowMs() })
    if (this.#claims.size > MAX_IN_FLIGHT) this.#claims.delete(this.#claims.keys().next().value!)
    if (claim !== null && claim.complete && !claim.all && residency.state(backend.index) === 'exact') {
      index.truncate(chain, backend.index, Math.floor((claim.tokens * claim.anchor.blocks) / claim.anchor.tokens))
    }
    return residency.begun(chain, backend)
  }

  /** The in-flight work with the end of `dispatching` in it. */
  watch(inFlight: InFlight, arrived: () => void): InFlight {
    if (arrived === NOTHING) return inFlight
    return {
      firstToken: () => inFlight.firstToken(),
      tokens: (n) => inFlight.tokens(n),
      end: (outcome) => {
        arrived()
        inFlight.end(outcome)
      },
    }
  }

  remembered(turn: ResolvedTurn, output: readonly ConversationItem[], chain: GrowingChain): void {
    this.#answered = { turn, output, chain }
  }

  learn(outcome: Outcome): void {
    const answered = this.#answered
    this.#answered = null
    const { backend, promptChain, usage } = outcome
    const sent = this.#claims.get(promptChain)
    this.#claims.delete(promptChain)
    if (backend.config.kvEvents === undefined || sent === undefined || usage === null) return
    const { residency } = this.#ports
    if (sent.claim !== null && usage.cachedTokens !== null) residency.check(sent.claim, usage.cachedTokens)
    if (usage.promptTokens - (usage.cachedTokens ?? usage.promptTokens) >= SURELY_STORED_TOKENS)
      residency.answered(backend, sent.dispatchedAtMs)
    if (answered !== null && answered.chain === outcome.fullChain)
      this.#ask(answered.turn, answered.output, outcome, usage, sent.dispatchedAtMs)
  }

  #ask(
    turn: ResolvedTurn,
    output: readonly ConversationItem[],
    outcome: Outcome,
    { promptTokens, cachedTokens, outputTokens }: Usage,
    dispatchedAtMs: number,
  ): void {
    const { source, residency, onProof } = this.#ports
    const { backend, model } = outcome
    const served = backend.models.get(model)
    // An image's tokens are the engine's own affair.
    if (served === undefined || turn.context.some(hasParts)) return
    const salt = saltSent(backend, turn)
    const body = (part: 'all' | 'head') => () => renderTokenize(turn, output, served, backend.engine, part)
    const shared = { model, backend, salt }
    // The newest goes first, so the conversation is asked for before its head.
    const head = this.#headChain(turn)
    if (head.length >= LEAST_HEAD_BLOCKS && head.length < turn.chain.length)
      source.ask({ ...shared, chain: head, body: body('head'), seen: null, known: () => undefined })
    source.ask({
      ...shared,
      chain: outcome.fullChain,
      body: body('all'),
      seen: cachedTokens === null ? null : { dispatchedAtMs, promptTokens, cachedTokens, outputTokens },
      known: (anchor) => {
        residency.prove(anchor, backend, promptTokens)
        onProof()
      },
    })
  }

  /** Tools, instructions and leading system messages: what conversations of one agent share. */
  #headChain(turn: ResolvedTurn): BlockChain {
    const { chains } = this.#ports
    let text = chains.head(turn.instructions, turn.effectiveTools)
    for (const item of turn.context) {
      if (item.type !== 'message' || !isSystem(item['role'])) break
      text += chains.item(item)
    }
    const root = chains.root(turn.tenant, turn.model)
    return text === '' ? root : root.extend(text)
  }
}

function hasParts(item: ConversationItem): boolean {
  const content = item['content'] ?? item['output']
  return Array.isArray(content) && content.some((part) => (part as { type?: unknown }).type === 'input_image')
}

const NOTHING = (): void => undefined
const MAX_IN_FLIGHT = 10_000
/** Two blocks of the largest size in use (128): at least one whole block was new. */
const SURELY_STORED_TOKENS = 256
/** A shorter head is worth less than asking for it. */
const LEAST_HEAD_BLOCKS = 4
