/** ResolvedTurn -> what the scheduler is asked. Token lengths are estimates: canonical characters over the model's learned ratio. */
import type { ModelChoice, SchedulingRequest } from './model/decision.ts'
import { isObject, type JsonObject, type JsonValue } from './model/json.ts'
import type { ConversationItem } from './model/item.ts'
import type { ResolvedTurn } from './model/turn.ts'
import { placeOf } from './wire/item-text.ts'

/** Tokens that a chat template spends around each item. */
const TEMPLATE_TOKENS = 4

export function estimateRequest(
  turn: ResolvedTurn,
  charactersPerToken: number,
  sessionHome: string | null,
  /** The part of the prompt whose tokens are known. */
  known: { readonly tokens: number; readonly characters: number } | null = null,
  headChanged = false,
  /** The models that may answer, where the client asked for a group. */
  choice?: ModelChoice,
): SchedulingRequest {
  const { parent } = turn
  const picture = pictureOf(turn)
  const usage = parent?.resource['usage']
  // the usage of an answer made of several counts them all; its receipt is of the one that was given
  const own = parent?.receipt?.asking === undefined ? null : parent.receipt.outputTokens
  const outputTokens = own ?? (isObject(usage) && typeof usage['output_tokens'] === 'number' ? usage['output_tokens'] : 0)
  const promptTokens =
    (known?.tokens ?? 0) + (turn.chain.totalCharacters - (known?.characters ?? 0)) / charactersPerToken + TEMPLATE_TOKENS
  return {
    endpoint: turn.endpoint,
    tenant: turn.tenant,
    model: turn.model,
    chain: turn.chain,
    ...(choice === undefined ? {} : { choice }),
    promptTokens,
    maxOutputTokens: turn.maxOutputTokens,
    sessionId: turn.session.id,
    homeBackendId: parent?.home?.backendId ?? sessionHome,
    ...(parent === null ? {} : { homeTokens: leftAtHome(parent.promptTokens, outputTokens, promptTokens) }),
    headChanged,
    ...(turn.fingerprint === undefined ? {} : { likelyOutputTokens: turn.fingerprint.expectedOutputTokens }),
    protocol: parent?.home?.protocol ?? null,
    needsVision: picture !== null,
    ...(picture === null ? {} : { picture }),
    priority: priorityOf(turn.body),
    exclude: new Set(),
  }
}

/** What the parent turn held when it ended; a share of this prompt where its engine did not tell. */
const leftAtHome = (parentTokens: number | null, outputTokens: number, promptTokens: number): number =>
  parentTokens === null ? ASSUMED_AT_HOME * promptTokens : parentTokens + outputTokens

/** A turn adds about a fifth to its conversation. */
const ASSUMED_AT_HOME = 0.8

const TIERS: Readonly<Record<string, number>> = { priority: 1, fast: 1, ultrafast: 1, flex: -1 }
/** A number far outside would make the order of the waiting room a matter of it alone. */
const MOST_URGENT = 10

/** Higher goes first in the waiting room: OpenAI's `service_tier`, and vLLM's `priority`, where lower goes first. */
export function priorityOf(body: JsonObject): number {
  const tier = typeof body['service_tier'] === 'string' ? (TIERS[body['service_tier']] ?? 0) : 0
  const own = typeof body['priority'] === 'number' && Number.isFinite(body['priority']) ? -body['priority'] : 0
  return Math.max(-MOST_URGENT, Math.min(MOST_URGENT, tier + own))
}

/** The first picture of the prompt. One message of Chat may be several items, so there the body is looked at. */
function pictureOf(turn: ResolvedTurn): { readonly at: string; readonly type: string } | null {
  const index = turn.context.findIndex(hasImage)
  if (index === -1) return null
  if (turn.endpoint === 'responses')
    return { at: placeOf(turn, index) + pictureIn(turn.context[index]!, 'input_image'), type: 'input_image' }
  const messages = Array.isArray(turn.body['messages']) ? (turn.body['messages'] as readonly JsonValue[]) : []
  for (const [message, content] of messages.entries()) {
    const part = isObject(content) ? pictureIn(content, 'image_url') : null
    if (part !== null) return { at: `messages[${message}]${part}`, type: 'image_url' }
  }
  return { at: 'messages', type: 'image_url' }
}

/** Asked of every item of every turn, so it allocates nothing. */
function hasImage(item: ConversationItem): boolean {
  const content = item['content'] ?? item['output']
  if (!Array.isArray(content)) return false
  for (const part of content as readonly unknown[]) if (isObject(part) && part['type'] === 'input_image') return true
  return false
}

function pictureIn(item: JsonObject, type: string): string | null {
  for (const field of ['content', 'output']) {
    const parts = item[field]
    if (!Array.isArray(parts)) continue
    const at = (parts as readonly JsonValue[]).findIndex((part) => isObject(part) && part['type'] === type)
    if (at !== -1) return `.${field}[${at}]`
  }
  return null
}
