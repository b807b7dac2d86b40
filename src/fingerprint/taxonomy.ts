/**
 * A taxonomy: topics or intents that an operator (or this project) trained, in one file `taxonomy.homing` of a folder.
 *
 * It holds a head, the temperature at which its probabilities were calibrated, and, where it was trained from dialogues, its
 * own filter and cue. Without these a taxonomy of topics follows a conversation with the shipped ones, whose features do
 * not know labels; intents of single messages carry over terse follow-ups instead (`carry`).
 */
import { join } from 'node:path'
import { isObject } from '../model/json.ts'
import { LabelFilter } from './label-filter.ts'
import { FingerprintFileError, SectionFile, SectionWriter } from './section-file.ts'
import { logSoftmax, SoftmaxHead } from './softmax-head.ts'
import type { TextFeatures } from './text-features.ts'

export type TaxonomyKind = 'topics' | 'intents'

export type TaxonomyParts = {
  readonly kind: TaxonomyKind
  readonly head: SoftmaxHead
  readonly temperature: number
  /** The label that means "none of these"; null where no example had it. */
  readonly outOfScope: string | null
  readonly filter: LabelFilter | null
  readonly cue: SoftmaxHead | null
}

export const TAXONOMY_FILE = 'taxonomy.homing'

export class Taxonomy {
  readonly kind: TaxonomyKind
  readonly labels: readonly string[]
  readonly filter: LabelFilter | null
  /** Place of the out-of-scope label; -1 where there is none. */
  readonly outOfScopeAt: number
  readonly #parts: TaxonomyParts
  readonly #cueLogits = new Float32Array(2)

  constructor(parts: TaxonomyParts) {
    this.#parts = parts
    this.kind = parts.kind
    this.labels = parts.head.labels
    this.filter = parts.filter
    this.outOfScopeAt = parts.outOfScope === null ? -1 : this.labels.indexOf(parts.outOfScope)
  }

  /** Log-probabilities of this text alone. */
  read(features: TextFeatures, into: Float32Array): void {
    this.#parts.head.logProbabilities(features, into)
    const { temperature } = this.#parts
    if (temperature === 1) return
    for (let label = 0; label < this.labels.length; label++) into[label]! /= temperature
    logSoftmax(into, this.labels.length)
  }

  /** Log-odds that these words change the subject; null where this taxonomy learnt none. */
  cue(features: TextFeatures): number | null {
    const { cue } = this.#parts
    if (cue === null) return null
    cue.logProbabilities(features, this.#cueLogits)
    return this.#cueLogits[1]! - this.#cueLogits[0]!
  }

  save(directory: string, told: { readonly table: string; readonly examples: number }): number {
    const file = new SectionWriter()
    this.write(file, '')
    return file.write(join(directory, TAXONOMY_FILE), { content: 'taxonomy', ...this.description, ...told })
  }

  get description(): { kind: TaxonomyKind; outOfScope: string | null; temperature: number } {
    return { kind: this.kind, outOfScope: this.#parts.outOfScope, temperature: this.#parts.temperature }
  }

  write(file: SectionWriter, prefix: string): void {
    this.#parts.head.save(file, `${prefix}head`)
    if (this.filter !== null) file.add(`${prefix}filter`, this.filter.weights)
    this.#parts.cue?.save(file, `${prefix}cue`)
  }

  /** `table` names the token table that the head was trained on: another table would make its dense half nonsense. */
  static load(directory: string, table: string): Taxonomy {
    const path = join(directory, TAXONOMY_FILE)
    const file = SectionFile.read(path)
    if (file.meta['content'] !== 'taxonomy') throw new FingerprintFileError(path, 'is not a taxonomy')
    if (file.meta['table'] !== table) {
      throw new FingerprintFileError(path, 'was trained on another version of the token table: train it again')
    }
    return Taxonomy.parse(file, '', file.meta)
  }

  /** The cue alone, for the shipped filter. */
  writeCue(file: SectionWriter, name: string): void {
    this.#parts.cue?.save(file, name)
  }

  static parse(file: SectionFile, prefix: string, description: unknown): Taxonomy {
    if (!isObject(description)) throw new FingerprintFileError(file.path, `has no description of ${prefix}`)
    const { kind, outOfScope, temperature } = description
    if (kind !== 'topics' && kind !== 'intents') {
      throw new FingerprintFileError(file.path, 'is a taxonomy of neither topics nor intents')
    }
    return new Taxonomy({
      kind,
      head: SoftmaxHead.load(file, `${prefix}head`),
      temperature: typeof temperature === 'number' ? temperature : 1,
      outOfScope: typeof outOfScope === 'string' ? outOfScope : null,
      filter: file.has(`${prefix}filter`) ? new LabelFilter(file.numbers(`${prefix}filter`, Float32Array)) : null,
      cue: file.has(`${prefix}cue.bias`) ? SoftmaxHead.load(file, `${prefix}cue`) : null,
    })
  }
}
