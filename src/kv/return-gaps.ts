/**
 * How long conversations stay away: the probability that one which has been silent for `elapsedMs` comes back within the
 * next `withinMs`, learned per kind of gap (a tool's result is awaited, or a person).
 *
 *   gaps     [ g0 g1 g2 g3 g4 ... ]     in the order in which they began; open, or closed with a length
 *   readers    ^r2      ^r1   ^r0       reader j passes a gap when the whole of bin j lies behind it
 *
 * A life table (Cutler, Ederer, J. Chronic Dis. 8, 1958): hazard of bin j = gaps that ended in bin j / gaps that reached
 * it, each counted only when the whole bin is past, so that conversations which have not come back yet are neither
 * forgotten nor taken for lost (censoring). Bins double in width from 1/4 s to 4.5 h; beyond that nobody is waited for.
 *
 * O(1) amortised a gap and bin; at most `MAX_OPEN` gaps, the oldest leaves first and is counted. Older counts are
 * halved once a bin has seen `MEMORY` gaps. A bin with few gaps leans on the pooled kinds.
 */
export type GapKind = 'tool' | 'person'

export type Gap = { readonly startMs: number; lengthMs: number | null }

export class ReturnGaps {
  readonly #nowMs: () => number
  readonly #kinds: Readonly<Record<GapKind, LifeTable>> = { tool: new LifeTable(), person: new LifeTable() }

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  /** The conversation was answered just now; hand the gap back to `end` when it returns. */
  begin(kind: GapKind): Gap {
    const gap: Gap = { startMs: this.#nowMs(), lengthMs: null }
    this.#kinds[kind].add(gap, gap.startMs)
    return gap
  }

  end(gap: Gap): void {
    gap.lengthMs ??= Math.max(0, this.#nowMs() - gap.startMs)
  }

  /** Probability that a conversation silent for `elapsedMs` returns within the next `withinMs`. */
  returns(kind: GapKind, elapsedMs: number, withinMs: number): number {
    this.#read()
    let away = 1
    const until = elapsedMs + withinMs
    for (let bin = binOf(elapsedMs); bin < BINS && edge(bin) < until; bin++) {
      const from = Math.max(elapsedMs, edge(bin))
      const share = (Math.min(until, edge(bin + 1)) - from) / (edge(bin + 1) - edge(bin))
      if (share > 0) away *= (1 - this.#hazard(kind, bin)) ** share
    }
    return 1 - away
  }

  /** The time from now at which half of those that return at all have returned; null where hardly any does. */
  expectedReturnMs(kind: GapKind, elapsedMs: number): number | null {
    const ever = this.returns(kind, elapsedMs, edge(BINS))
    if (ever < HARDLY) return null
    let away = 1
    for (let bin = binOf(elapsedMs); bin < BINS; bin++) {
      const from = Math.max(elapsedMs, edge(bin))
      const share = (edge(bin + 1) - from) / (edge(bin + 1) - edge(bin))
      if (share > 0) away *= (1 - this.#hazard(kind, bin)) ** share
      if (1 - away >= ever / 2) return Math.max(0, edge(bin + 1) - elapsedMs)
    }
    return null
  }

  get evicted(): number {
    return this.#kinds.tool.evicted + this.#kinds.person.evicted
  }

  /** Gaps of which at least the first bin is known. */
  known(kind: GapKind): number {
    this.#kinds[kind].read(this.#nowMs())
    return this.#kinds[kind].reached(0)
  }

  #read(): void {
    const now = this.#nowMs()
    for (const name of KINDS) this.#kinds[name].read(now)
  }

  #hazard(kind: GapKind, bin: number): number {
    let reached = 0
    let ended = 0
    for (const name of KINDS) {
      reached += this.#kinds[name].reached(bin)
      ended += this.#kinds[name].ended(bin)
    }
    const pooled = (ended + LEAN * firstHazard(kind, bin)) / (reached + LEAN)
    return (this.#kinds[kind].ended(bin) + LEAN * pooled) / (this.#kinds[kind].reached(bin) + LEAN)
  }
}

class LifeTable {
  #gaps: Gap[] = []
  /** Gaps before `#gaps[0]` that were let go. */
  #dropped = 0
  readonly #readers = new Float64Array(BINS)
  readonly #reached = new Float64Array(BINS)
  readonly #ended = new Float64Array(BINS)
  evicted = 0

  add(gap: Gap, nowMs: number): void {
    this.#gaps.push(gap)
    this.read(nowMs)
    if (this.#gaps.length <= MAX_OPEN) return
    this.#drop(MAX_OPEN / 2)
    this.evicted += MAX_OPEN / 2
  }

  read(nowMs: number): void {
    const last = this.#dropped + this.#gaps.length
    let slowest = last
    for (let bin = 0; bin < BINS; bin++) {
      let at = Math.max(this.#readers[bin]!, this.#dropped)
      for (; at < last; at++) {
        const { startMs, lengthMs } = this.#gaps[at - this.#dropped]!
        if (startMs + edge(bin + 1) > nowMs) break
        if (lengthMs !== null && lengthMs < edge(bin)) continue
        this.#reached[bin]!++
        if (lengthMs !== null && lengthMs < edge(bin + 1)) this.#ended[bin]!++
        if (this.#reached[bin]! < MEMORY) continue
        this.#reached[bin]! /= 2
        this.#ended[bin]! /= 2
      }
      this.#readers[bin] = at
      slowest = Math.min(slowest, at)
    }
    if (slowest - this.#dropped > 1024 && (slowest - this.#dropped) * 2 > this.#gaps.length)
      this.#drop(slowest - this.#dropped)
  }

  reached(bin: number): number {
    return this.#reached[bin]!
  }

  ended(bin: number): number {
    return this.#ended[bin]!
  }

  #drop(count: number): void {
    this.#gaps = this.#gaps.slice(count)
    this.#dropped += count
  }
}

const KINDS: readonly GapKind[] = ['tool', 'person']
const FIRST_EDGE_MS = 250
/** 250 ms * 2^16 = 4.5 hours: what every provider keeps of a prompt cache, and more. */
const BINS = 17
const MAX_OPEN = 65_536
const MEMORY = 10_000
/** A bin's own hazard weighs as much as the pooled one after so many gaps. */
const LEAN = 10
/**
 * Before anything was seen, half of those that return do so within seconds where a tool is awaited (median of agents: 2 s),
 * and within two minutes where a person is (follow-up gaps of Mooncake's conversations: 123 s), who reads for 16 s at least.
 */
const firstHazard = (kind: GapKind, bin: number): number => (kind === 'person' && bin < 7 ? 0.02 : 0.13)
/** Less than one in fifty comes back: nothing is worth keeping for them. */
const HARDLY = 0.02

/** Lower edge of a bin; the first begins at 0. */
const edge = (bin: number): number => (bin === 0 ? 0 : FIRST_EDGE_MS * 2 ** (bin - 1))
const binOf = (ms: number): number =>
  ms < FIRST_EDGE_MS ? 0 : Math.min(BINS - 1, 1 + Math.floor(Math.log2(ms / FIRST_EDGE_MS)))
