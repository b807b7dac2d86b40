/**
 * Which model is good at what: learned from graded answers, asked before each choice.
 *
 *   subject -> features (topics, intent, kind of question) -> belief of each model (pool.ts, belief.ts) -> mean, deviation, draw
 *
 * The draw is Thompson sampling: a model is chosen as often as it is believed to be the best. Tenants do not learn from each
 * other unless sharing is on; only the kinds of question (clusters of texts, no outcomes) are found in everybody's traffic.
 * Bounds: tenants and models, least recently learned first, counted; features by group. About 20 kB a model and tenant.
 * Figures of choosing and learning: bench record `expertise`.
 */
import type { ExpectedQuality, Lesson, Subject } from '../model/quality.ts'
import { choiceProbabilities } from './expertise-choice.ts'
import { complementaryModels } from './expertise-complement.ts'
import { SubjectFeatures } from './expertise-features.ts'
import { KnownModel } from './expertise-model.ts'
import { ModelPool } from './expertise-pool.ts'

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
export type ExpertiseCounts = { lessons: number; refused: number; changes: number; evictedTenants: number }

export class Expertise {
  readonly #options: ExpertiseOptions
  readonly #features = new SubjectFeatures()
  readonly #pools = new Map<string, ModelPool>()
  /** What tenants without lessons see: the configuration's word. */
  readonly #unlearned: ModelPool
  readonly #untold: Untold[] = []
  #agedMs: number
  readonly counts: ExpertiseCounts = { lessons: 0, refused: 0, changes: 0, evictedTenants: 0 }
  spread = 1

  constructor(options: ExpertiseOptions) {
    this.#options = options
    this.#agedMs = options.wallMs()
    this.#unlearned = this.#begin()
  }

  expect(tenant: string, models: readonly string[], subject: Subject): ExpectedQuality[] {
    const { random, exploration } = this.#options
    const pool = this.#pools.get(this.#scope(tenant)) ?? this.#unlearned
    const x = this.#features.read(subject)
    const explores = exploration === null || (exploration > 0 && random() < exploration)
    return models.map((model) => {
      const known = pool.models.get(model) ?? UNKNOWN
      const mean = known.belief.mean(x, pool)
      const deviation = Math.sqrt(known.belief.variance(x, pool))
      let observations = 0
      for (let at = 0; at < x.count; at++) {
        if (this.#features.groupOf(x.places[at]!) === 'topic') observations += x.values[at]! * known.evidence.weightOf(x.places[at]!)
      }
      return { model, mean, deviation, observations, drawn: explores ? mean + this.spread * deviation * normal(random) : mean }
    })
  }

  /** How often each model would have been chosen, where model i costs `extraCost[i]` beside its quality, in its units. */
  probabilities(expected: readonly ExpectedQuality[], extraCost: readonly number[]): number[] {
    return choiceProbabilities(expected, extraCost, this.#options.exploration ?? 1)
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

  observe(lesson: Lesson): void {
    const { score, weight, model, subject } = lesson
    if (!(score >= 0 && score <= 1) || !(weight > 0 && weight <= 1) || !Number.isFinite(lesson.atMs)) {
      this.counts.refused++
      return
    }
    const nowMs = this.#options.wallMs()
    this.#age(nowMs)
    const counted = weight * this.#remaining(nowMs - lesson.atMs)
    const pool = this.#poolOf(lesson.tenant)
    const known = pool.modelNamed(model)
    const x = this.#features.read(subject)
    known.mark(x, nowMs, this.#features.size)
    if (pool.learn(known, x, score, counted) !== null) this.counts.changes++
    this.counts.lessons++
    if (this.#features.finder.book !== null) return
    this.#untold.push({ pool, known, era: known.era.number, subject, score, weight: counted })
    if (this.#features.finder.sample(subject, this.#options.random, nowMs)) this.#tellKinds()
    else if (this.#untold.length > MOST_UNTOLD) this.#untold.shift()
  }

  /** Kinds were found: the lessons they were found in are told again, with them. */
  #tellKinds(): void {
    const size = (): number => this.#features.size
    for (const { known, era, subject, score, weight } of this.#untold) {
      if (known.era.number !== era) continue
      known.add(this.#features.read(subject, false), score, -weight, size())
      known.add(this.#features.read(subject), score, weight, size())
    }
    for (const pool of new Set(this.#untold.map((lesson) => lesson.pool))) pool.solveAll()
    this.#untold.length = 0
  }

  #scope(tenant: string): string {
    return this.#options.shareBetweenTenants ? EVERYBODY : tenant
  }

  #poolOf(tenant: string): ModelPool {
    const scope = this.#scope(tenant)
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
    const pool = new ModelPool(this.#features, this.#options.maxModels ?? MOST_MODELS)
    for (const [model, topics] of Object.entries(this.#options.priors)) {
      const known = pool.modelNamed(model)
      for (const [topic, quality] of Object.entries(topics)) {
        this.#features.declare(known.declared, topic, quality, DECLARED_WEIGHT)
      }
      pool.solve(known)
    }
    return pool
  }

  /** What is left of an outcome's weight after so long. */
  #remaining(elapsedMs: number): number {
    const { halfLifeMs } = this.#options
    return halfLifeMs === null || elapsedMs <= 0 ? 1 : 2 ** (-elapsedMs / halfLifeMs)
  }

  /** All evidence at once, when it is worth the while: a half-life has `AGEINGS` steps. */
  #age(nowMs: number): void {
    const { halfLifeMs } = this.#options
    if (halfLifeMs === null || nowMs - this.#agedMs < halfLifeMs / AGEINGS) return
    const factor = this.#remaining(nowMs - this.#agedMs)
    this.#agedMs = nowMs
    for (const pool of this.#pools.values()) for (const model of pool.models.values()) model.scale(factor)
    for (let at = 0; at < this.#untold.length; at++) this.#untold[at] = { ...this.#untold[at]!, weight: factor * this.#untold[at]!.weight }
  }
}

type Untold = {
  readonly pool: ModelPool
  readonly known: KnownModel
  readonly era: number
  readonly subject: Subject
  readonly score: number
  readonly weight: number
}

const UNKNOWN = new KnownModel()
const EVERYBODY = ''
/** A word of the configuration counts as so many outcomes: it decides the first dozens of requests and no more. */
const DECLARED_WEIGHT = 20
const MOST_TENANTS = 500
const MOST_MODELS = 200
const MOST_UNTOLD = 1000
const AGEINGS = 100

/** Box and Muller. */
function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}
