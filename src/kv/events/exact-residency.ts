/**
 * How many prompt tokens of a conversation lie in a backend's cache now, answered from events.
 *
 *   chain    |=========== canonical blocks ===========|-- new in this turn --|
 *   anchor   |=== the same text as tokens, states ====|                             (token-anchors.ts)
 *   events   |### held ###|                                                         (held-blocks.ts)
 *
 * Held blocks form a prefix, since an engine evicts a block before the one in front of it, so the end is found by
 * galloping and halving: O(log) look-ups a backend. Where all of the anchor is held, history (the block index) speaks for
 * what lies behind it. Where nobody can know, the answer is UNKNOWN and history decides alone:
 * - the backend has no events, or its stream is disconnected, replaying or silent;
 * - the tie is not proven there: tokens of an answered prompt were not found among its blocks (another tokeniser, an
 *   adapter, a salt), or answers contradicted what events said (`tie`, between 0 and 1);
 * - no prefix of the chain is known as tokens; or the backend serves the model under another name;
 * - not all of the prefix is held and a turn with it is on its way there: only history knows what is about to be stored.
 * An incomplete picture (events were lost) is a lower bound: the larger of it and history counts.
 *
 * Tiers: tokens that must be brought from host memory or a shared store take `tokens / rate` seconds instead of being
 * computed. Such a token counts as the share of a computed one that it saves, 1 - prefill speed / rate, at least 0.
 */
import type { Backend } from '../../model/backend.ts'
import type { BlockChain } from '../../model/turn.ts'
import type { WatchedBackend } from './events-link.ts'
import { GRAIN_TOKENS } from './token-hash.ts'
import type { TokenAnchor, TokenAnchors } from './token-anchors.ts'

export const UNKNOWN = -1

export type ExactResidencyPorts = {
  readonly watched: (backend: number) => WatchedBackend | undefined
  readonly anchors: TokenAnchors
  readonly history: { cachedBlocks(chain: BlockChain, backend: number): number }
  readonly prefillTokensPerSecond: (backend: number, model: string) => number
  readonly nowMs: () => number
}

export type EventsState =
  | 'connecting' // never reached its publisher
  | 'waiting' // connected, nothing proven yet
  | 'exact'
  | 'lower bound' // events were lost; what is known is true, but not all
  | 'replaying'
  | 'silent' // answers came that must have stored blocks, and no event
  | 'contradicted' // answers do not agree with what events said
  | 'lost' // the connection broke

export class ExactResidency {
  readonly counts = { exact: 0, bounded: 0, unknown: 0, proven: 0, unproven: 0, agreed: 0, stale: 0 }
  readonly #ports: ExactResidencyPorts
  readonly #ties: Tie[] = []

  constructor(ports: ExactResidencyPorts) {
    this.#ports = ports
  }

  /** Prompt tokens of the chain that the backend holds, discounted where they lie in a lower tier; UNKNOWN where events cannot tell. */
  residentTokens(chain: BlockChain, backend: Backend): number {
    const watched = this.#ports.watched(backend.index)
    if (watched === undefined) return UNKNOWN
    const anchor = this.#ports.anchors.find(chain)
    if (anchor === null || !this.#speaksFor(backend, watched, anchor)) {
      this.counts.unknown++
      return UNKNOWN
    }
    const held = this.#heldTokens(anchor, backend, watched)
    if (!held.all && this.#tie(backend.index).coming.has(anchor)) {
      this.counts.unknown++
      return UNKNOWN
    }
    const historyBlocks = this.#ports.history.cachedBlocks(chain, backend.index)
    const beyond = historyBlocks - anchor.blocks
    if (held.all && beyond > 0) {
      this.counts.exact++
      return held.counted - held.tokens + anchor.tokens + beyond * (anchor.tokens / anchor.blocks)
    }
    if (watched.complete) {
      this.counts.exact++
      return held.counted
    }
    this.counts.bounded++
    return Math.max(held.counted, historyBlocks * (anchor.tokens / anchor.blocks))
  }

  /** Changes when an answer of `residentTokens` may have. */
  version(backend: number): number {
    return (this.#ports.watched(backend)?.version ?? 0) + (this.#ties[backend]?.changes ?? 0)
  }

  /** A turn with this chain was sent there; the returned function ends that. */
  begun(chain: BlockChain, backend: Backend): () => void {
    if (this.#ports.watched(backend.index) === undefined) return NOTHING
    const anchor = this.#ports.anchors.find(chain)
    if (anchor === null) return NOTHING
    const tie = this.#tie(backend.index)
    tie.coming.set(anchor, (tie.coming.get(anchor) ?? 0) + 1)
    tie.changes++
    let ended = false
    return () => {
      if (ended) return
      ended = true
      const left = (tie.coming.get(anchor) ?? 1) - 1
      if (left > 0) tie.coming.set(anchor, left)
      else tie.coming.delete(anchor)
      tie.changes++
    }
  }

  /**
   * What events say of the chain there right now, for a later comparison with the engine's own count; null where they say
   * nothing that could be compared.
   */
  claim(chain: BlockChain, backend: Backend): ResidencyClaim | null {
    const watched = this.#ports.watched(backend.index)
    const anchor = watched === undefined ? null : this.#ports.anchors.find(chain)
    if (watched === undefined || anchor === null || !this.#connected(watched) || !sameModel(backend, anchor)) return null
    const { gpu, all } = this.#heldTokens(anchor, backend, watched)
    return { backend: backend.index, anchor, tokens: gpu, all, complete: watched.complete }
  }

  /** The engine's own count of cached tokens for a claim that was made when its turn was sent. */
  check(claim: ResidencyClaim, cachedTokens: number): void {
    const watched = this.#ports.watched(claim.backend)
    if (watched === undefined || claim.tokens === 0) return
    const step = stepOf(watched)
    // One block less is no contradiction: at least one token is always computed.
    if (cachedTokens >= claim.tokens - step) {
      this.counts.agreed++
      this.#judge(claim.backend, true)
      return
    }
    this.counts.stale++
    this.#judge(claim.backend, false)
    // Whatever events said, it was not there.
    const { states, tokens } = claim.anchor
    for (let grain = Math.floor(cachedTokens / GRAIN_TOKENS); grain < Math.floor(tokens / GRAIN_TOKENS); grain++) {
      for (const tier of [0, 1, 2] as const) watched.held.release(states[2 * grain]!, states[2 * grain + 1]!, tier)
    }
  }

  /** An answered prompt is known as tokens now: its blocks must be among those that the backend says it holds. */
  prove(anchor: TokenAnchor, backend: Backend, promptTokens: number): void {
    const watched = this.#ports.watched(backend.index)
    if (watched === undefined || !this.#connected(watched) || watched.blockTokens === 0) return
    const step = stepOf(watched)
    const expected = Math.floor(Math.min(promptTokens, anchor.tokens) / step) * step
    if (expected === 0) return
    const { tokens } = this.#heldTokens(anchor, backend, watched)
    const proven = tokens >= expected
    // Before the first prompt that was stored under our eyes, an incomplete picture proves nothing either way.
    if (!proven && !watched.complete) return
    this.counts[proven ? 'proven' : 'unproven']++
    const tie = this.#tie(backend.index)
    if (proven && !tie.tied) {
      tie.tied = true
      tie.trust = 1
      tie.changes++
    } else this.#judge(backend.index, proven)
  }

  /** An answer was given that must have stored blocks; `dispatchedAtMs` of `nowMs`. */
  answered(backend: Backend, dispatchedAtMs: number): void {
    const tie = this.#tie(backend.index)
    const watched = this.#ports.watched(backend.index)
    if (watched === undefined || watched.lastChangeMs >= dispatchedAtMs) tie.unheardSinceMs = Infinity
    else tie.unheardSinceMs = Math.min(tie.unheardSinceMs, this.#ports.nowMs())
  }

  /** A new process: what was proven of the old one need not hold. */
  forgetTie(backend: number): void {
    const changes = this.#ties[backend]?.changes ?? 0
    delete this.#ties[backend]
    this.#tie(backend).changes = changes + 1
  }

  state(backend: number): EventsState | null {
    const watched = this.#ports.watched(backend)
    if (watched === undefined) return null
    const { status } = watched
    const tie = this.#tie(backend)
    if (status === null || (!status.connected && !Number.isFinite(watched.lastChangeMs) && !tie.tied)) return 'connecting'
    if (!status.connected) return 'lost'
    if (status.replaying) return 'replaying'
    if (this.#silent(tie, watched)) return 'silent'
    if (!tie.tied) return tie.trust < 0 ? 'contradicted' : 'waiting'
    if (tie.trust < LEAST_TRUST) return 'contradicted'
    return watched.complete ? 'exact' : 'lower bound'
  }

  #speaksFor(backend: Backend, watched: WatchedBackend, anchor: TokenAnchor): boolean {
    const tie = this.#ties[backend.index]
    return (
      tie !== undefined &&
      tie.tied &&
      tie.trust >= LEAST_TRUST &&
      this.#connected(watched) &&
      !this.#silent(tie, watched) &&
      sameModel(backend, anchor)
    )
  }

  #connected({ status }: WatchedBackend): boolean {
    return status !== null && status.connected && !status.replaying
  }

  #silent(tie: Tie, watched: WatchedBackend): boolean {
    return this.#ports.nowMs() - tie.unheardSinceMs > SILENCE_MS && watched.lastChangeMs < tie.unheardSinceMs
  }

  /** `tokens`: held in any tier from the start on; `gpu`: of these on the accelerator; `counted`: with lower tiers discounted. */
  #heldTokens(anchor: TokenAnchor, backend: Backend, watched: WatchedBackend) {
    const step = stepOf(watched)
    const steps = Math.floor(anchor.tokens / step)
    const grains = step / GRAIN_TOKENS
    const { held } = watched
    const tiersAt = (at: number): number => {
      const grain = at * grains - 1
      return held.tiersOf(anchor.states[2 * grain]!, anchor.states[2 * grain + 1]!)
    }
    const onGpu = prefix(steps, (at) => (tiersAt(at) & 1) !== 0, 0)
    const anywhere = onGpu === steps ? steps : prefix(steps, (at) => tiersAt(at) !== 0, onGpu)
    let counted = onGpu * step
    if (anywhere > onGpu) {
      const prefill = this.#ports.prefillTokensPerSecond(backend.index, anchor.model)
      const rates = backend.config.kvEvents?.tiers
      const rate = (tiersAt(onGpu + 1) & 2) !== 0 ? rates?.cpu : rates?.store
      counted += rate === undefined ? 0 : (anywhere - onGpu) * step * Math.max(0, 1 - prefill / rate)
    }
    return { tokens: anywhere * step, gpu: onGpu * step, counted, all: steps > 0 && anywhere === steps }
  }

  #judge(backend: number, agrees: boolean): void {
    const tie = this.#tie(backend)
    const before = tie.trust >= LEAST_TRUST
    tie.trust += TRUST_STEP * ((agrees ? 1 : tie.tied ? 0 : -1) - tie.trust)
    if (tie.trust >= LEAST_TRUST !== before) tie.changes++
  }

  #tie(backend: number): Tie {
    return (this.#ties[backend] ??= { tied: false, trust: 0, coming: new Map(), unheardSinceMs: Infinity, changes: 0 })
  }
}

export type ResidencyClaim = {
  readonly backend: number
  readonly anchor: TokenAnchor
  readonly tokens: number
  readonly all: boolean
  readonly complete: boolean
}

type Tie = {
  /** A prompt's tokens were found among the blocks of this engine. */
  tied: boolean
  /** Running share of agreements, from 1 when it was tied. */
  trust: number
  /** Anchors whose turns are on their way, and how many. One entry a turn in flight at most. */
  readonly coming: Map<TokenAnchor, number>
  /** When an answer came whose blocks no event told of; Infinity for none. */
  unheardSinceMs: number
  changes: number
}

/** Positions of both the engine's block ends and our states. */
function stepOf({ blockTokens: block }: WatchedBackend): number {
  if (block <= 0) return GRAIN_TOKENS
  let [a, b] = [block, GRAIN_TOKENS]
  while (b > 0) [a, b] = [b, a % b]
  return (block * GRAIN_TOKENS) / a
}

const sameModel = (backend: Backend, anchor: TokenAnchor): boolean =>
  backend.models.get(anchor.model)?.served === anchor.served

/** The largest n for which 1..n hold, where holding is a prefix property; `from` are known to. */
function prefix(most: number, holds: (at: number) => boolean, from: number): number {
  let low = from
  let step = 1
  let high = most
  while (low + step <= most) {
    if (!holds(low + step)) {
      high = low + step - 1
      break
    }
    low += step
    step *= 2
  }
  while (low < high) {
    const middle = (low + high + 1) >>> 1
    if (holds(middle)) low = middle
    else high = middle - 1
  }
  return low
}

const NOTHING = (): void => undefined
/** Four contradictions in a row take the trust away; as many agreements in a row bring it back. */
const TRUST_STEP = 0.1
const LEAST_TRUST = 0.7
/** Engines publish with each step, so within a fraction of a second. */
const SILENCE_MS = 10_000
