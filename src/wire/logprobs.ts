/** Chat `logprobs.content` -> the `logprobs` of a Responses text delta. `bytes` may be null in Chat, never here. */
import { isObject, type JsonObject, type JsonValue } from '../model/json.ts'

const NONE: readonly JsonObject[] = Object.freeze([])

export function logprobsFromChat(logprobs: JsonValue | undefined): readonly JsonObject[] {
  if (!isObject(logprobs)) return NONE
  return logprobsFromResponses(logprobs['content'])
}

/** A list of token entries from any engine; entries that have no number are left out. */
export function logprobsFromResponses(entries: JsonValue | undefined): readonly JsonObject[] {
  if (!Array.isArray(entries) || entries.length === 0) return NONE
  const list: readonly JsonValue[] = entries
  const mapped: JsonObject[] = []
  for (const entry of list) {
    const token = tokenOf(entry)
    if (token === null) continue
    const top =
      isObject(entry) && Array.isArray(entry['top_logprobs']) ? (entry['top_logprobs'] as readonly JsonValue[]) : []
    mapped.push({ ...token, top_logprobs: top.map(tokenOf).filter((other) => other !== null) })
  }
  return mapped
}

function tokenOf(entry: JsonValue): JsonObject | null {
  if (!isObject(entry) || typeof entry['logprob'] !== 'number') return null
  const token = typeof entry['token'] === 'string' ? entry['token'] : ''
  const bytes = Array.isArray(entry['bytes']) ? entry['bytes'] : [...Buffer.from(token, 'utf8')]
  return { token, logprob: entry['logprob'], bytes }
}
