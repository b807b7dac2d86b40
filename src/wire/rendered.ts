/**
 * What is common to a Responses turn rendered for either protocol: which fields of the body are the gateway's own
 * business (they end here), and which were asked for but cannot be passed on (they are listed, so that the client sees
 * it). All other fields, known to us or not, go to the engine as they came.
 */
import type { JsonObject } from '../model/json.ts'
import { isArray } from './parse-checks.ts'
import type { ToolNames } from './tool-names.ts'

export type Rendered = {
  /** Always `stream: true`: an engine cancels a stream when its reader leaves, and a whole answer often not. */
  readonly body: JsonObject
  /** Hosted tools and fields that were asked for and that the engine does not see. */
  readonly omitted: readonly string[]
  readonly toolNames: ToolNames
}

/** State, identity, caching and transport: handled here, meaningless or harmful to an engine. */
const OURS: ReadonlySet<string> = new Set([
  'model',
  'input',
  'instructions',
  'messages',
  'metadata',
  'store',
  'previous_response_id',
  'conversation',
  'background',
  'truncation',
  'context_management',
  'prompt',
  'prompt_cache_key',
  'prompt_cache_options',
  'prompt_cache_retention',
  'safety_identifier',
  'service_tier',
  'include',
  'stream',
  'stream_options',
  'max_tool_calls',
  'moderation',
  'access_programs',
  'homing',
  'n',
])

/** Of these the client may have expected an effect. */
const MISSED = ['max_tool_calls', 'moderation', 'access_programs', 'prompt_cache_retention']

/** The fields of `body` that go to the engine as they came; null means absent. `taken` are rendered by the caller. */
export function passedFields(body: JsonObject, taken: ReadonlySet<string>): JsonObject {
  const passes = ([key, value]: [string, unknown]) => (value ?? null) !== null && !OURS.has(key) && !taken.has(key)
  return Object.fromEntries(Object.entries(body).filter(passes))
}

export function missedFields(body: JsonObject): readonly string[] {
  const missed = MISSED.filter((key) => (body[key] ?? null) !== null)
  const tier = body['service_tier'] ?? 'auto'
  return tier === 'auto' || tier === 'default' ? missed : [...missed, 'service_tier']
}

export const includes = (body: JsonObject, what: string): boolean =>
  isArray(body['include']) && body['include'].includes(what)
