/** How often the nearest other prompt of arena-hard is the partner of its cluster: what the embedding is for. */
import { join } from 'node:path'
import type { FeatureReader } from '../src/fingerprint/text-features.ts'
import { dot } from '../src/fingerprint/token-table.ts'
import { rowsOf } from './labelled.ts'

export function partnersFound(data: string, reader: FeatureReader): { first: number; meanReciprocalRank: number } {
  const prompts = rowsOf<{ cluster: string; text: string }>(join(data, 'arena-hard-cluster-pairs-0-124.jsonl'))
  const vectors = prompts.map(({ text }) => reader.read(text).embedding.slice())
  let first = 0
  let reciprocal = 0
  prompts.forEach(({ cluster }, at) => {
    const partner = prompts.findIndex((prompt, other) => other !== at && prompt.cluster === cluster)
    const likeness = dot(vectors[at]!, vectors[partner]!)
    const rank = vectors.filter((vector, other) => other !== at && dot(vectors[at]!, vector) > likeness).length
    if (rank === 0) first++
    reciprocal += 1 / (rank + 1)
  })
  return { first: first / prompts.length, meanReciprocalRank: reciprocal / prompts.length }
}
