/**
 * The shipped asset, read once: vocabulary and token table, topics and intents, filter, names, and the small models of
 * complexity and length. Shared by all conversations of a process; its readers reuse their buffers, so it belongs to one
 * thread.
 *
 * Refused at start when the file is damaged, of another version, or does not fit together.
 */
import { isObject } from '../model/json.ts'
import type { NameFinder } from './entities/find-entities.ts'
import { NameTagger } from './entities/name-tagger.ts'
import { LabelFilter } from './label-filter.ts'
import { loadQuantities, type QuantityModels } from './quantities.ts'
import { FingerprintFileError, SectionFile } from './section-file.ts'
import { SoftmaxHead } from './softmax-head.ts'
import { Taxonomy } from './taxonomy.ts'
import { FeatureReader } from './text-features.ts'
import { TokenTable } from './token-table.ts'
import { WordPieces } from './word-pieces.ts'

export type FingerprintModel = {
  /** Names the token table and the kind of n-grams: taxonomies are trained on one and useless with another. */
  readonly table: string
  readonly dimensions: number
  readonly reader: FeatureReader
  readonly topics: Taxonomy
  readonly intents: Taxonomy
  /** For taxonomies that were trained from single texts: its features do not know labels. */
  readonly filter: LabelFilter
  readonly cue: SoftmaxHead
  readonly quantities: QuantityModels
  readonly names: NameFinder
}

export function loadFingerprintModel(path: string): FingerprintModel {
  const file = SectionFile.read(path)
  if (file.meta['content'] !== 'model') throw new FingerprintFileError(path, 'is not a fingerprint model')
  const { reader, table, dimensions } = readTable(file)
  const described = isObject(file.meta['taxonomies']) ? file.meta['taxonomies'] : {}
  return {
    table,
    dimensions,
    reader,
    topics: Taxonomy.parse(file, 'topics.', described['topics']),
    intents: Taxonomy.parse(file, 'intents.', described['intents']),
    filter: new LabelFilter(file.numbers('filter', Float32Array)),
    cue: SoftmaxHead.load(file, 'cue'),
    quantities: loadQuantities(file, dimensions),
    names: NameTagger.load(file),
  }
}

/** The part of the asset that heads are trained on. */
export function readTable(file: SectionFile): {
  readonly reader: FeatureReader
  readonly table: string
  readonly dimensions: number
} {
  const { table, dimensions } = file.meta
  if (typeof table !== 'string' || typeof dimensions !== 'number') {
    throw new FingerprintFileError(file.path, 'does not describe its token table')
  }
  const vocabulary = file.text('vocabulary').split('\n')
  const rows = file.numbers('table.rows', Int8Array)
  const scales = file.numbers('table.scales', Float32Array)
  if (rows.length !== vocabulary.length * dimensions || scales.length !== vocabulary.length) {
    throw new FingerprintFileError(file.path, 'has a token table that does not fit its vocabulary')
  }
  const tokens = new TokenTable(rows, scales, dimensions)
  return { reader: new FeatureReader(new WordPieces(vocabulary), tokens), table, dimensions }
}
