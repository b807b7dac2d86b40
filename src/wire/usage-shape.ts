/**
 * Token counts between the engines' shapes and the two APIs' shapes.
 *
 * Seen in the wild: Chat `prompt_tokens_details.cached_tokens` (null details where vLLM does not report them), SGLang's
 * top-level `reasoning_tokens`, llama.cpp's `timings` (`cache_n` of the prompt's tokens came from the cache, `prompt_n`
 * were computed, `predicted_n` generated), which older builds send without cached tokens in `usage`.
 */
import { isObject, type JsonObject, type JsonValue } from '../model/json.ts'
import type { Usage } from '../model/usage.ts'

const count = (value: JsonValue | undefined): number | null =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.trunc(value) : null

const inside = (value: JsonValue | undefined, key: string): number | null =>
  isObject(value) ? count(value[key]) : null

function make(
  prompt: number | null,
  cached: number | null,
  output: number | null,
  reasoning: number | null,
): Usage | null {
  if (prompt === null && output === null) return null
  const promptTokens = prompt ?? 0
  return {
    promptTokens,
    cachedTokens: cached === null ? null : Math.min(cached, promptTokens),
    outputTokens: output ?? 0,
    reasoningTokens: reasoning,
  }
}

/** From a chat chunk or body: its `usage` and `timings`; null when it carries neither. */
export function usageFromChat(usage: JsonValue | undefined, timings: JsonValue | undefined): Usage | null {
  const computed = inside(timings, 'prompt_n')
  const cached = inside(timings, 'cache_n')
  if (!isObject(usage)) {
    return make(computed === null ? null : computed + (cached ?? 0), cached, inside(timings, 'predicted_n'), null)
  }
  return make(
    count(usage.prompt_tokens),
    inside(usage.prompt_tokens_details, 'cached_tokens') ?? cached,
    count(usage.completion_tokens),
    inside(usage.completion_tokens_details, 'reasoning_tokens') ?? count(usage.reasoning_tokens),
  )
}

export function usageFromResponses(usage: JsonValue | undefined, timings: JsonValue | undefined): Usage | null {
  if (!isObject(usage)) return usageFromChat(undefined, timings)
  return make(
    count(usage.input_tokens),
    inside(usage.input_tokens_details, 'cached_tokens') ?? inside(timings, 'cache_n'),
    count(usage.output_tokens),
    inside(usage.output_tokens_details, 'reasoning_tokens'),
  )
}

/**
 * The same `usage` of either API with at most so many tokens from the cache: the others were computed for this very turn
 * just before, so it did not find them there.
 */
export function cachedAtMost(usage: JsonObject, tokens: number): JsonObject {
  const changed: Record<string, JsonValue | undefined> = { ...usage }
  for (const field of ['prompt_tokens_details', 'input_tokens_details']) {
    const details = usage[field]
    const cached = inside(details, 'cached_tokens')
    if (cached !== null) changed[field] = { ...(details as JsonObject), cached_tokens: Math.min(cached, Math.round(tokens)) }
  }
  return changed
}

/** The Responses shape. Unknown details are 0: a null there breaks clients (agents-node cannot serialise its state). */
export function usageToResponses(usage: Usage): JsonObject {
  return {
    input_tokens: usage.promptTokens,
    input_tokens_details: { cached_tokens: usage.cachedTokens ?? 0 },
    output_tokens: usage.outputTokens,
    output_tokens_details: { reasoning_tokens: usage.reasoningTokens ?? 0 },
    total_tokens: usage.promptTokens + usage.outputTokens,
  }
}

/** The Chat shape. */
export function usageToChat(usage: Usage): JsonObject {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.outputTokens,
    total_tokens: usage.promptTokens + usage.outputTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedTokens ?? 0 },
    completion_tokens_details: { reasoning_tokens: usage.reasoningTokens ?? 0 },
  }
}
