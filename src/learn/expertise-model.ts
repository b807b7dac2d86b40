/**
 * One model as one tenant's outcomes show it: evidence of each replica, their sum, and the belief that follows.
 *
 *   era   what was seen before a change counts shifted by its size, and no more than `KEPT_AFTER_CHANGE` outcomes: the
 *         profile over topics is worth keeping, the level is not
 *
 * A row of evidence belongs to the replica that saw it, and only that one writes it; others hold the copy with the highest
 * version, so that merging twice, or in any order, counts nothing twice. Without others the sum is the own row itself.
 */
import { Belief } from './expertise-belief.ts'
import { ChangeTest } from './expertise-change.ts'
import { Evidence } from './expertise-evidence.ts'
import type { ExpertiseSetting } from './expertise-table.ts'
import type { FeatureVector } from './expertise-features.ts'

export type Era = { readonly number: number; readonly shift: number; readonly kept: number }

export class EvidenceRow {
  readonly evidence: Evidence
  version = 0
  era: Era = FIRST_ERA

  constructor(evidence = new Evidence()) {
    this.evidence = evidence
  }

  /** As the era `to` sees it; rows of this era or a later one stay. */
  enter(to: Era): void {
    if (this.era.number >= to.number) return
    this.evidence.shift(to.shift)
    if (this.evidence.weight > to.kept) this.evidence.scale(to.kept / this.evidence.weight)
    this.era = to
  }
}

export class KnownModel {
  readonly belief = new Belief()
  readonly change = new ChangeTest()
  own = new EvidenceRow()
  readonly others = new Map<string, EvidenceRow>()
  /** What the operator set, by topic, '' for the whole model; one of 0 outcomes says that it was reset. */
  readonly settings = new Map<string, ExpertiseSetting>()
  /** What the configuration and the operator say, as outcomes that never age. */
  declared = new Evidence()
  #sum: Evidence | null = null
  /** When each feature was last the subject of a lesson, by place. */
  lastMs = new Float64Array(0)
  changes = 0

  /** Of all replicas together. */
  get evidence(): Evidence {
    return this.#sum ?? this.own.evidence
  }

  add(x: FeatureVector, score: number, weight: number, size: number): void {
    this.own.version++
    this.own.evidence.grow(size)
    this.own.evidence.add(x, score, weight)
    if (this.#sum === null) return
    this.#sum.grow(size)
    this.#sum.add(x, score, weight)
  }

  /** Notes when topics were met: those that are at least as likely as not. */
  mark(x: FeatureVector, nowMs: number, size: number): void {
    this.#growLast(size)
    for (let at = 0; at < x.count; at++) if (x.values[at]! >= 0.5) this.lastMs[x.places[at]!] = nowMs
  }

  /** What another replica noted, at its places. */
  markAt(lastMs: Float64Array, places: readonly number[], size: number): void {
    this.#growLast(size)
    lastMs.forEach((atMs, at) => {
      this.lastMs[places[at]!] = Math.max(this.lastMs[places[at]!]!, atMs)
    })
  }

  #growLast(size: number): void {
    if (this.lastMs.length >= size) return
    const longer = new Float64Array(size)
    longer.set(this.lastMs)
    this.lastMs = longer
  }

  scale(factor: number): void {
    this.own.evidence.scale(factor)
    for (const { evidence } of this.others.values()) evidence.scale(factor)
    this.#sum?.scale(factor)
  }

  /** It answers better or worse by so much from now on. */
  changeBy(shift: number): void {
    this.changes++
    this.#enter({ number: this.era.number + 1, shift, kept: KEPT_AFTER_CHANGE })
  }

  /** As if it had never been seen. */
  reset(): void {
    this.#enter({ number: this.era.number + 1, shift: 0, kept: 0 })
    this.change.reset()
  }

  forget(place: number): void {
    this.own.version++
    this.own.evidence.forget(place)
    for (const { evidence } of this.others.values()) evidence.forget(place)
    this.sum()
  }

  drop(place: number): void {
    this.own.version++
    this.own.evidence.drop(place)
    for (const { evidence } of this.others.values()) evidence.drop(place)
    this.sum()
  }

  get era(): Era {
    let latest = this.own.era
    for (const { era } of this.others.values()) if (era.number > latest.number) latest = era
    return latest
  }

  /** After rows came or went: all in the latest era, added up. */
  sum(): void {
    this.#enter(this.era)
  }

  #enter(era: Era): void {
    if (this.own.era.number < era.number) this.own.version++
    this.own.enter(era)
    this.#sum = null
    if (this.others.size === 0) return
    const sum = this.own.evidence.copy()
    for (const row of this.others.values()) {
      row.enter(era)
      sum.addAll(row.evidence)
    }
    this.#sum = sum
  }
}

const FIRST_ERA: Era = { number: 0, shift: 0, kept: 0 }
/** As many outcomes of one model fix its level to within 5 points. */
const KEPT_AFTER_CHANGE = 100
