/**
 * Which model is good at what: learned from graded answers, asked before each choice.
 *
 *   subject -> features (topics, intent, kind of question) -> belief of each model (expertise-pool, -belief) -> mean, deviation, draw
 *
 * The draw is Thompson sampling: a model is chosen as often as it is believed to be the best. Draws fade where no outcomes come
 * back, for nothing would be learned from them. Tenants do not learn from each other unless sharing is on; only the kinds of
 * question (clusters of texts, no outcomes) are found in everybody's traffic. Bounds: tenants and models, least recently learned
 * first, counted; features by group. About 20 kB a model and tenant. Figures: bench record `expertise`.
 */
import type { ExpectedQuality, Lesson, Subject } from '../model/quality.ts'
import { choiceProbabilities, drawnSpread } from './expertise-choice.ts'
import { complementaryModels } from './expertise-complement.ts'
import { Evidence } from './expertise-evidence.ts'
import { SubjectFeatures } from './expertise-features.ts'
import { takeSnapshot } from './expertise-merge.ts'
import { KnownModel } from './expertise-model.ts'
import { ModelPool } from './expertise-pool.ts'
import { Repeats } from './expertise-repeats.ts'
import { decodeSnapshot, encodeSnapshot, type ExpertiseSnapshot } from './expertise-snapshot.ts'
import { tableOf, typical, type ExpertiseEdit, type ExpertiseRow } from './expertise-table.ts'

export type ExpertiseOptions = {
  /** After so long an outcome counts half; null: outcomes do not age. */
  readonly halfLifeMs: number | null
  /** At most this share of choices is drawn, others take what is expected to be best; null: every choice is drawn. */
  readonly exploration: number | null
  readonly shareBetweenTenants: boolean
  /** Model -> topic -> expected quality, as the configuration declares it. */
  readonly priors: Readonly<Record<string, Readonly<Record<string, number>>>>
  readonly random: () => number
  readonly wallMs: () => number
  /** Names this replica's evidence where snapshots are merged. */
  readonly replica?: string
  readonly maxModels?: number
  readonly maxTenants?: number
}

/** What happened so far, for metrics. */
export type ExpertiseCounts = {
  lessons: number
  /** Lessons that were none, and rows of more replicas than are kept. */
  refused: number
  /** Models found to have become better or worse. */
  changes: number
  evictedTenants: number
  evictedModels: number
}

export class Expertise {
  readonly #options: ExpertiseOptions
  readonly #features = new SubjectFeatures()
  readonly #repeats = new Repeats()
  readonly #pools = new Map<string, ModelPool>()
  /** What tenants without lessons see: the configuration's word. */
  readonly #unlearned: ModelPool
  #agedMs: number
  readonly counts: ExpertiseCounts = { lessons: 0, refused: 0, changes: 0, evictedTenants: 0, evictedModels: 0 }

  constructor(options: ExpertiseOptions) {
    this.#options = options
    this.#agedMs = options.wallMs()
    this.#unlearned = this.#begin()
  }

  expect(tenant: string, models: readonly string[], subject: Subject): ExpectedQuality[] {
    const { random } = this.#options
    const pool = this.#pools.get(this.#scope(tenant)) ?? this.#unlearned
    this.#features.finder.sample(subject)
    const x = this.#features.read(subject)
    const share = this.#drawnShare(pool)
    const explores = share >= 1 || (share > 0 && random() < share)
    const spread = drawnSpread(models.length)
    return models.map((model) => {
      const known = pool.models.get(model) ?? (this.#options.priors[model] === undefined ? UNKNOWN : this.#knownIn(pool, model))
      const mean = known.belief.mean(x, pool)
      const deviation = Math.sqrt(known.belief.variance(x, pool))
      const drawn = explores ? mean + spread * deviation * normal(random) : mean
      return { model, mean, deviation, observations: known.evidence.weight, drawn, ...(share < 1 ? { drawnShare: share } : {}) }
    })
  }

  /** How often each model would have been chosen, where model i costs `extraCost[i]` beside its quality, in its units; deviations are those of the draws. */
  probabilities(expected: readonly ExpectedQuality[], extraCost: readonly number[]): number[] {
    return choiceProbabilities(expected, extraCost, expected[0]?.drawnShare ?? 1)
  }

  /** `n` models of which at least one is likely to be right, the expected best first. */
  complementary(tenant: string, models: readonly string[], subject: Subject, n: number): string[] {
    const pool = this.#pools.get(this.#scope(tenant)) ?? this.#unlearned
    const x = this.#features.read(subject)
    return complementaryModels(pool, this.#features, x, models, n)
  }

  /** What a book of answered turns keeps of a subject. */
  compact(subject: Subject): Subject {
    return this.#features.compact(subject)
  }

  /** How often a topic or intent found no feature of its own. */
  get overflowedLabels(): number {
    return this.#features.overflowed
  }

  /** Tenants of which something is known; the empty name where all share. */
  get tenants(): string[] {
    return [...this.#pools.keys()]
  }

  /** What is known of each model, topic by topic. */
  table(tenant: string): ExpertiseRow[] {
    return tableOf(this.#pools.get(this.#scope(tenant)) ?? this.#unlearned, this.#features)
  }

  /** The operator's word; later outcomes weigh against it. A reset withdraws what was set and declared, too. */
  edit(edit: ExpertiseEdit): void {
    const pool = this.#poolOf(this.#scope(edit.tenant))
    const known = this.#knownIn(pool, edit.model)
    const atMs = this.#options.wallMs()
    const topic = edit.topic ?? null
    if ('quality' in edit) {
      const { quality, outcomes = DECLARED_WEIGHT } = edit
      if (!(quality >= 0 && quality <= 1) || !(outcomes > 0 && outcomes <= MOST_SET_OUTCOMES)) {
        throw new RangeError(`quality is 0 to 1, outcomes above 0 and at most ${MOST_SET_OUTCOMES}`)
      }
      known.settings.set(topic ?? '', { topic, quality, outcomes, atMs })
    } else if (topic !== null) {
      known.settings.set(topic, { topic, quality: 0, outcomes: 0, atMs })
      known.forget(this.#features.placeOf('topic', topic))
    } else {
      const withdrawn = [...known.settings.keys(), ...Object.keys(this.#options.priors[edit.model] ?? {})]
      for (const each of withdrawn) known.settings.set(each, { topic: each === '' ? null : each, quality: 0, outcomes: 0, atMs })
      known.reset()
    }
    this.#declare(pool, edit.model, known)
    pool.solveAll(ROUNDS_OF_EDIT)
  }

  snapshot(): Buffer {
    this.#age(this.#options.wallMs(), true)
    const scopes = [...this.#pools].map(([scope, { models }]) => ({
      scope,
      models: [...models].map(([name, { changes, lastMs, settings, own, others }]) => ({
        name, changes, lastMs, settings: [...settings.values()], rows: new Map([[this.#replica, own], ...others]),
      })),
    }))
    return encodeSnapshot({ replica: this.#replica, agedMs: this.#agedMs, features: this.#features.named, book: this.#features.finder.book, scopes })
  }

  /** At start, from what this replica stored; its own rows go on where they ended, one of another name keeps its rows. */
  restore(bytes: Uint8Array): void {
    const snapshot = decodeSnapshot(bytes)
    this.#pools.clear()
    this.#take(snapshot, true)
  }

  /** What other replicas know; this one's own evidence is not touched. */
  merge(bytes: Uint8Array): void {
    this.#take(decodeSnapshot(bytes), false)
  }

  observe(lesson: Lesson): void {
    const { score, weight, model, subject } = lesson
    if (!(score >= 0 && score <= 1) || !(Math.abs(weight) > 0 && Math.abs(weight) <= 1) || !Number.isFinite(lesson.atMs)) {
      this.counts.refused++
      return
    }
    const nowMs = this.#options.wallMs()
    this.#age(nowMs)
    const pool = this.#poolOf(this.#scope(lesson.tenant))
    const known = this.#knownIn(pool, model)
    const x = this.#features.read(subject)
    known.mark(x, nowMs, this.#features.size)
    const remaining = this.#remaining(nowMs - lesson.atMs)
    const name = `${this.#scope(lesson.tenant)}\n${model}\n${known.own.era.number}`
    const counted = weight * remaining * this.#repeats.share(name, subject, weight)
    if (pool.learn(known, x, score, counted, weight * remaining)) this.counts.changes++
    this.counts.lessons++
    pool.choicesSinceLesson *= 1 - Math.min(1, Math.abs(weight))
    this.#features.finder.step(this.#options.random, nowMs)
  }

  #take(snapshot: ExpertiseSnapshot, ownToo: boolean): void {
    const nowMs = this.#options.wallMs()
    this.#age(nowMs, true)
    takeSnapshot(snapshot, {
      replica: this.#replica,
      ownToo,
      factor: this.#remaining(nowMs - snapshot.agedMs),
      features: this.#features,
      pools: this.#pools,
      poolOf: (scope) => this.#poolOf(scope),
      knownIn: (pool, model) => this.#knownIn(pool, model),
      declare: (pool, model, known) => this.#declare(pool, model, known),
      refuse: () => this.counts.refused++,
    })
  }

  /** A draw is paid back by the outcome that it brings: where none come, less and less is drawn. */
  #drawnShare(pool: ModelPool): number {
    const patience = Math.min(1, PATIENT_CHOICES / ++pool.choicesSinceLesson)
    return Math.min(this.#options.exploration ?? 1, patience * patience)
  }

  #scope(tenant: string): string {
    return this.#options.shareBetweenTenants ? EVERYBODY : tenant
  }

  #poolOf(scope: string): ModelPool {
    const pool = this.#pools.get(scope) ?? this.#begin()
    this.#pools.delete(scope)
    this.#pools.set(scope, pool)
    if (this.#pools.size > (this.#options.maxTenants ?? MOST_TENANTS)) {
      this.#pools.delete(this.#pools.keys().next().value!)
      this.counts.evictedTenants++
    }
    return pool
  }

  #begin(): ModelPool {
    return new ModelPool(this.#features, this.#options.maxModels ?? MOST_MODELS, () => this.counts.evictedModels++)
  }

  /** A model's declaration is read when it is first met: backends may bring it later than the gateway's start. */
  #knownIn(pool: ModelPool, model: string): KnownModel {
    const isNew = !pool.models.has(model)
    const known = pool.modelNamed(model)
    if (isNew) {
      this.#declare(pool, model, known)
      pool.solve(known)
    }
    return known
  }

  /** The configuration's word holds for topics that the operator did not set or reset. */
  #declare(pool: ModelPool, model: string, known: KnownModel): void {
    known.declared = new Evidence()
    const declare = (topic: string | null, quality: number, outcomes: number): void => {
      const x = typical(pool, this.#features, topic === null ? null : this.#features.placeOf('topic', topic))
      known.declared.grow(this.#features.size)
      known.declared.add(x, quality, outcomes)
    }
    for (const [topic, quality] of Object.entries(this.#options.priors[model] ?? {})) {
      if (!known.settings.has(topic)) declare(topic, quality, DECLARED_WEIGHT)
    }
    for (const { topic, quality, outcomes } of known.settings.values()) if (outcomes > 0) declare(topic, quality, outcomes)
  }

  get #replica(): string {
    return this.#options.replica ?? 'this'
  }

  /** What is left of an outcome's weight after so long. */
  #remaining(elapsedMs: number): number {
    const { halfLifeMs } = this.#options
    return halfLifeMs === null || elapsedMs <= 0 ? 1 : 2 ** (-elapsedMs / halfLifeMs)
  }

  /** All evidence at once, when it is worth the while: a half-life has `AGEINGS` steps. */
  #age(nowMs: number, now = false): void {
    const { halfLifeMs } = this.#options
    if (nowMs <= this.#agedMs || (!now && halfLifeMs !== null && nowMs - this.#agedMs < halfLifeMs / AGEINGS)) return
    const factor = this.#remaining(nowMs - this.#agedMs)
    this.#agedMs = nowMs
    if (halfLifeMs === null) return
    for (const pool of this.#pools.values()) for (const model of pool.models.values()) model.scale(factor)
  }
}

const UNKNOWN = new KnownModel()
const EVERYBODY = ''
/** A word of the configuration counts as so many outcomes: it decides the first dozens of requests and no more. */
const DECLARED_WEIGHT = 20
const MOST_TENANTS = 500
const MOST_MODELS = 200
/** One outcome in thirty answers, or signs that weigh as much, keep all choices drawn; without any, about 64 are drawn in all. */
const PATIENT_CHOICES = 32
/** An operator waits for it, and his word shall show. */
const ROUNDS_OF_EDIT = 8
/** More would never be outweighed. */
const MOST_SET_OUTCOMES = 1000
const AGEINGS = 100

/** Box and Muller. */
function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}
