/**
 * Why a prompt was, or was not, in a cache, in the shape of OpenAI's `prompt_cache_diagnostics`. A router holds both
 * requests, so the reason is read off them: the first of the fields below in which they differ, in the order in which
 * templates render them. Given only on request (`prompt_cache_options.comparison_response_id`). Beside it stands our own
 * word (`homing_reason`, the receipt's `cache.why`), which also knows what happened to an unchanged prompt.
 */
import { isObject, type JsonObject } from '../model/json.ts'
import type { Receipt } from '../model/receipt.ts'
import type { StoredResponse } from '../model/response.ts'
import type { ResolvedTurn } from '../model/turn.ts'

/** Engines cache whole blocks (16 to 128 tokens) and recompute at least one token. */
const BLOCK_TOLERANCE_TOKENS = 128

export function comparisonId(turn: ResolvedTurn): string | null {
  const options = turn.body['prompt_cache_options']
  const id = isObject(options) ? options['comparison_response_id'] : null
  return typeof id === 'string' ? id : null
}

export function diagnoseCache(
  turn: ResolvedTurn,
  comparison: StoredResponse | null,
  { cachedTokens, cache, model }: Pick<Receipt, 'cachedTokens' | 'cache' | 'model'>,
): JsonObject {
  if (comparison === null) return { type: 'comparison_response_not_found' }
  if (cachedTokens.actual === null || comparison.promptTokens === null) return { type: 'unavailable' }
  const usage = comparison.resource['usage']
  // the usage of an answer made of several counts them all; its receipt is of the one that was given
  const own = comparison.receipt?.asking === undefined ? null : comparison.receipt.outputTokens
  const outputTokens = own ?? (isObject(usage) && typeof usage['output_tokens'] === 'number' ? usage['output_tokens'] : 0)
  const continues = turn.previousResponseId === comparison.id
  const reusable = comparison.promptTokens + (continues ? outputTokens : 0)
  const missed = Math.max(0, reusable - cachedTokens.actual)
  if (missed <= BLOCK_TOLERANCE_TOKENS && cachedTokens.actual > 0) return { type: 'cache_hit' }
  const reason = model !== comparison.model ? 'model_changed' : reasonOf(turn, comparison)
  // Nothing changed, so the cache lost it or the turn went elsewhere. OpenAI's reasons are all changes of the request:
  // none is right, and an invented one would break clients that know the list.
  if (reason === null) return { type: 'unavailable', homing_reason: cache.why, homing_missed_tokens: missed }
  return {
    type: 'cache_miss',
    reason,
    cache_missed_tokens: missed,
    comparison_reusable_tokens: reusable,
    homing_reason: cache.why,
  }
}

function reasonOf(turn: ResolvedTurn, comparison: StoredResponse): string | null {
  const before = comparison.resource
  const differs = (now: unknown, then: unknown): boolean => JSON.stringify(now ?? null) !== JSON.stringify(then ?? null)
  const inside = (value: unknown, key: string): unknown => (isObject(value) ? value[key] : undefined)
  if (turn.cacheKey !== null && differs(turn.cacheKey, before['prompt_cache_key'])) return 'prompt_cache_key_changed'
  if (differs(turn.effectiveTools, comparison.tools)) return 'tools_changed'
  if (
    differs(
      inside(inside(turn.body['text'], 'format'), 'type') ?? 'text',
      inside(inside(before['text'], 'format'), 'type') ?? 'text',
    )
  )
    return 'text_format_changed'
  if (differs(inside(turn.body['reasoning'], 'effort'), inside(before['reasoning'], 'effort')))
    return 'reasoning_effort_changed'
  if (differs(inside(turn.body['text'], 'verbosity') ?? 'medium', inside(before['text'], 'verbosity') ?? 'medium'))
    return 'verbosity_changed'
  if (differs(turn.instructions, before['instructions'])) return 'input_changed'
  const then = [...comparison.inputItemIds, ...comparison.outputItemIds]
  const goesOn = turn.endpoint === 'responses' && then.every((id, at) => turn.contextItemIds[at] === id)
  if (goesOn) return null
  return turn.context.some(({ type }) => type.startsWith('compaction')) ? 'context_compacted' : 'input_changed'
}
