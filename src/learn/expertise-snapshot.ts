/**
 * Expertise as bytes (MessagePack): for the store, and for other replicas. Sums are stored in single precision, 6 kB a model.
 *
 *   features    in the order of their places, so that a reader with other places can move what it reads
 *   rows        evidence of each replica with its version: the higher one replaces the lower one, so nothing counts twice
 *
 * Beliefs are not stored: they follow from the evidence. What cannot be read is refused as a whole.
 */
import { decode, encode } from '@msgpack/msgpack'
import { isObject, type JsonObject } from '../model/json.ts'
import { Evidence, pairOf, pairsOf } from './expertise-evidence.ts'
import { FEATURE_GROUPS, type FeatureGroup, type NamedFeature } from './expertise-features.ts'
import { KINDS, type KindBook } from './expertise-kinds.ts'
import { EvidenceRow } from './expertise-model.ts'
import type { ExpertiseSetting } from './expertise-table.ts'

export class ExpertiseSnapshotError extends Error {
  constructor(what: string) {
    super(`this is no snapshot of expertise: ${what}`)
    this.name = 'ExpertiseSnapshotError'
  }
}

export type StoredModel = {
  readonly name: string
  readonly changes: number
  readonly lastMs: Float64Array
  readonly settings: readonly ExpertiseSetting[]
  readonly rows: ReadonlyMap<string, EvidenceRow>
}
export type ExpertiseSnapshot = {
  readonly replica: string
  /** Evidence is as old as this says. */
  readonly agedMs: number
  readonly features: readonly NamedFeature[]
  readonly book: KindBook | null
  readonly scopes: readonly { readonly scope: string; readonly models: readonly StoredModel[] }[]
}

const VERSION = 1

export function encodeSnapshot(snapshot: ExpertiseSnapshot): Buffer {
  const { replica, agedMs, features, book, scopes } = snapshot
  const bytes = encode({
    version: VERSION,
    replica,
    agedMs,
    features,
    book: book === null ? null : { ...book, centre: bytesOf(book.centre), scale: bytesOf(book.scale), centres: bytesOf(book.centres) },
    scopes: scopes.map(({ scope, models }) => ({
      scope,
      models: models.map(({ name, changes, lastMs, settings, rows }) => ({
        name,
        changes,
        lastMs: [...lastMs],
        settings,
        rows: [...rows].map(([of, { evidence, version, era }]) => ({
          replica: of,
          version,
          era,
          cross: bytesOf(Float32Array.from(evidence.cross)),
          scores: bytesOf(Float32Array.from(evidence.scores)),
        })),
      })),
    })),
  })
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

export function decodeSnapshot(bytes: Uint8Array): ExpertiseSnapshot {
  let read: unknown
  try {
    read = decode(bytes)
  } catch (error) {
    throw new ExpertiseSnapshotError(error instanceof Error ? error.message : 'not MessagePack')
  }
  const from = object(read, 'snapshot')
  if (from['version'] !== VERSION) throw new ExpertiseSnapshotError(`version ${String(from['version'])}`)
  const features = list(from['features'], 'features').map((feature): NamedFeature => {
    const [group, label] = list(feature, 'feature')
    if (!FEATURE_GROUPS.includes(group as FeatureGroup)) throw new ExpertiseSnapshotError(`a feature of group ${String(group)}`)
    return [group as FeatureGroup, text(label, 'label')]
  })
  return {
    replica: text(from['replica'], 'replica'),
    agedMs: number(from['agedMs'], 'agedMs'),
    features,
    book: from['book'] === null ? null : bookOf(object(from['book'], 'book')),
    scopes: list(from['scopes'], 'scopes').map((scope) => {
      const { scope: name, models } = object(scope, 'scope')
      return { scope: text(name, 'scope'), models: list(models, 'models').map((model) => modelOf(object(model, 'model'), features.length)) }
    }),
  }
}

/** The same sums at other places. */
export function moved(evidence: Evidence, places: readonly number[]): Evidence {
  const to = new Evidence(Math.max(0, ...places.slice(0, evidence.size)) + 1)
  for (let one = 0; one < evidence.size; one++) {
    to.scores[places[one]!]! += evidence.scores[one]!
    for (let other = 0; other <= one; other++) to.cross[pairOf(places[one]!, places[other]!)]! += evidence.cross[pairOf(one, other)]!
  }
  return to
}

function modelOf(from: JsonObject, features: number): StoredModel {
  const rows = new Map<string, EvidenceRow>()
  for (const each of list(from['rows'], 'rows')) {
    const row = object(each, 'row')
    const [cross, scores] = [floats(row['cross'], 'cross'), floats(row['scores'], 'scores')]
    if (scores.length > features || cross.length !== pairsOf(scores.length)) throw new ExpertiseSnapshotError('sums that do not fit its features')
    const evidence = new Evidence(scores.length)
    evidence.cross.set(cross)
    evidence.scores.set(scores)
    const stored = new EvidenceRow(evidence)
    stored.version = number(row['version'], 'version')
    const era = object(row['era'], 'era')
    stored.era = { number: number(era['number'], 'era'), shift: number(era['shift'], 'shift'), kept: number(era['kept'], 'kept') }
    rows.set(text(row['replica'], 'replica'), stored)
  }
  const settings = list(from['settings'], 'settings').map((each): ExpertiseSetting => {
    const { topic, quality, outcomes, atMs } = object(each, 'setting')
    return {
      topic: topic === null ? null : text(topic, 'topic'),
      quality: number(quality, 'quality'),
      outcomes: number(outcomes, 'outcomes'),
      atMs: number(atMs, 'atMs'),
    }
  })
  const lastMs = Float64Array.from(list(from['lastMs'], 'lastMs').slice(0, features), (each) => number(each, 'lastMs'))
  return { name: text(from['name'], 'name'), changes: number(from['changes'], 'changes'), lastMs, settings, rows }
}

function bookOf(from: JsonObject): KindBook {
  const [centre, scale, centres] = [floats(from['centre'], 'centre'), floats(from['scale'], 'scale'), floats(from['centres'], 'centres')]
  const dimensions = number(from['dimensions'], 'dimensions')
  if (centres.length !== KINDS * centre.length || dimensions + scale.length !== centre.length + 1) {
    throw new ExpertiseSnapshotError('kinds that do not fit together')
  }
  return { madeAtMs: number(from['madeAtMs'], 'madeAtMs'), dimensions, centre, scale, centres, within: number(from['within'], 'within') }
}

const bytesOf = (values: Float32Array): Uint8Array => new Uint8Array(values.buffer, values.byteOffset, values.byteLength)

function floats(value: unknown, what: string): Float32Array {
  if (!(value instanceof Uint8Array) || value.byteLength % 4 !== 0) throw new ExpertiseSnapshotError(`${what} is not made of numbers`)
  const read = new Float32Array(new Uint8Array(value).buffer)
  if (!read.every(Number.isFinite)) throw new ExpertiseSnapshotError(`${what} holds what is no number`)
  return read
}

function object(value: unknown, what: string): JsonObject {
  if (!isObject(value)) throw new ExpertiseSnapshotError(`${what} is not an object`)
  return value
}

function list(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new ExpertiseSnapshotError(`${what} is not a list`)
  return value
}

function text(value: unknown, what: string): string {
  if (typeof value !== 'string') throw new ExpertiseSnapshotError(`${what} is not a text`)
  return value
}

function number(value: unknown, what: string): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new ExpertiseSnapshotError(`${what} is not a number`)
  return value
}
