/**
 * Whether asking the next model of a cascade pays, learned from what escalations brought.
 *
 * Per pair of models, topic and band of the small model's confidence: how often the next model's answer was another one.
 * An answer that stays the same was paid for twice and bettered nothing; where it changes, it betters the expected quality by
 * `GAIN_PER_CHANGE`. Asking pays where
 *
 *   P(change | pair, topic, band) * GAIN_PER_CHANGE * seconds per quality  >=  seconds that the next model takes
 *
 * P is a Beta posterior whose prior is that of the pair over all topics, whose own prior is 1 - confidence at the weight of
 * `PRIOR_WEIGHT` escalations; counts halve every `HALF_LIFE` escalations of a cell, so a model that is replaced is noticed.
 * One in `EXPLORE_ONE_IN` of the turns that would not pay is escalated all the same: otherwise nothing would be learned again.
 *
 * State: some 150 bytes a cell, `MAX_CELLS` cells; the one longest without an escalation leaves first and is counted. It is
 * kept over a restart.
 */
import type { EscalationReason } from '../model/asking.ts'

/**
 * Of answers that differ, the share by which the larger model is more often right than the smaller one: 0.41 and 0.48 on
 * average over pairs of models of two outcome matrices, from 0.2 to 0.7 (bench/records/ensemble-2026-11-26.md).
 */
const GAIN_PER_CHANGE = 0.4
const PRIOR_WEIGHT = 4
const HALF_LIFE = 200
const EXPLORE_ONE_IN = 20
/** Until a model has been timed. */
const ASSUMED_SECONDS = 5
/** 50 pairs of models, 20 topics, 5 bands. */
const MAX_CELLS = 5000
const BANDS = 5

type Cell = { changed: number; escalated: number }

export type Step = {
  readonly from: string
  readonly to: string
  readonly topic: string
  readonly why: EscalationReason | null
  readonly confidence: number | null
  /** What a whole point of quality is worth: 100 times `seconds_per_quality_point`. */
  readonly secondsPerQuality: number
}

export class Escalations {
  readonly #random: () => number
  readonly #cells = new Map<string, Cell>()
  readonly #seconds = new Map<string, number>()
  #changed = false
  readonly evictions = { size: 0 }
  /** Decisions of `pays`, for the metrics. */
  readonly counts = { paid: 0, explored: 0, not_worth_it: 0 }

  constructor(random: () => number) {
    this.#random = random
  }

  get size(): number {
    return this.#cells.size
  }

  pays(step: Step): boolean {
    const worthSeconds = this.changes(step) * GAIN_PER_CHANGE * step.secondsPerQuality
    if (worthSeconds >= (this.#seconds.get(step.to) ?? ASSUMED_SECONDS)) {
      this.counts.paid++
      return true
    }
    const explores = this.#random() * EXPLORE_ONE_IN < 1
    this.counts[explores ? 'explored' : 'not_worth_it']++
    return explores
  }

  /** Probability that the next model answers something else. */
  changes(step: Step): number {
    const pair = posterior(this.#cells.get(keyOf(step, '')), 1 - (step.confidence ?? UNKNOWN_CONFIDENCE))
    return posterior(this.#cells.get(keyOf(step, step.topic)), pair)
  }

  escalated(step: Step, changed: boolean, seconds: number): void {
    this.#add(keyOf(step, ''), changed)
    this.#add(keyOf(step, step.topic), changed)
    const before = this.#seconds.get(step.to)
    // the mean of about the last ten
    this.#seconds.set(step.to, before === undefined ? seconds : before + (seconds - before) / 10)
    if (this.#seconds.size > MAX_CELLS / BANDS) this.#evictOldest(this.#seconds)
  }

  /** How it outlives the process: cells as JSON, about 100 bytes each. */
  readonly snapshotPart = {
    name: 'escalations',
    changed: (): boolean => this.#changed,
    save: (): Uint8Array => {
      this.#changed = false
      return Buffer.from(JSON.stringify({ version: VERSION, cells: [...this.#cells], seconds: [...this.#seconds] }))
    },
    restore: (bytes: Uint8Array): void => {
      const { version, cells, seconds } = JSON.parse(Buffer.from(bytes).toString('utf8')) as Saved
      if (version !== VERSION || !cells.every(isCell) || !seconds.every(isTime)) throw new Error('not an account of escalations that this version reads')
      for (const [key, cell] of cells) this.#cells.set(key, cell)
      for (const [model, taken] of seconds) this.#seconds.set(model, taken)
    },
  }

  #add(key: string, changed: boolean): void {
    this.#changed = true
    const cell = this.#cells.get(key) ?? { changed: 0, escalated: 0 }
    const kept = 0.5 ** (1 / HALF_LIFE)
    cell.changed = cell.changed * kept + (changed ? 1 : 0)
    cell.escalated = cell.escalated * kept + 1
    this.#cells.delete(key)
    this.#cells.set(key, cell)
    if (this.#cells.size > MAX_CELLS) this.#evictOldest(this.#cells)
  }

  #evictOldest(map: Map<string, unknown>): void {
    for (const oldest of map.keys()) {
      map.delete(oldest)
      this.evictions.size++
      return
    }
  }
}

const VERSION = 1
type Saved = {
  readonly version: unknown
  readonly cells: readonly (readonly [string, Cell])[]
  readonly seconds: readonly (readonly [string, number])[]
}
const isCell = ([key, { changed, escalated }]: Saved['cells'][number]): boolean =>
  typeof key === 'string' && changed >= 0 && escalated >= changed
const isTime = ([model, taken]: Saved['seconds'][number]): boolean => typeof model === 'string' && taken >= 0

/** A model that tells no probabilities is as sure as the middle band. */
const UNKNOWN_CONFIDENCE = 0.5

const posterior = (cell: Cell | undefined, prior: number): number =>
  cell === undefined ? prior : (cell.changed + PRIOR_WEIGHT * prior) / (cell.escalated + PRIOR_WEIGHT)

/** The empty topic stands for all of them. */
function keyOf({ from, to, why, confidence }: Step, topic: string): string {
  const band = confidence === null ? '-' : String(Math.min(BANDS - 1, Math.floor(confidence * BANDS)))
  return `${from}\u0000${to}\u0000${topic}\u0000${why ?? ''}\u0000${band}`
}
