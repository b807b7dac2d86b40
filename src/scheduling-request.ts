/** ResolvedTurn -> what the scheduler is asked. Token lengths are estimates: canonical characters over the model's learned ratio. */
import type { SchedulingRequest } from './model/decision.ts'
import { isObject } from './model/json.ts'
import type { ConversationItem } from './model/item.ts'
import type { ResolvedTurn } from './model/turn.ts'

/** Tokens that a chat template spends around each item. */
const TEMPLATE_TOKENS = 4

export function estimateRequest(turn: ResolvedTurn, charactersPerToken: number, sessionHome: string | null): SchedulingRequest {
  const { parent } = turn
  const usage = parent?.resource['usage']
  const outputTokens = isObject(usage) && typeof usage['output_tokens'] === 'number' ? usage['output_tokens'] : 0
  return {
    endpoint: turn.endpoint,
    tenant: turn.tenant,
    model: turn.model,
    chain: turn.chain,
    promptTokens: turn.chain.totalCharacters / charactersPerToken + TEMPLATE_TOKENS,
    maxOutputTokens: turn.maxOutputTokens,
    sessionId: turn.session.id,
    homeBackendId: parent?.home?.backendId ?? sessionHome,
    ...(parent === null || parent.promptTokens === null ? {} : { homeTokens: parent.promptTokens + outputTokens }),
    protocol: parent?.home?.protocol ?? null,
    needsVision: turn.context.some(hasImage),
    exclude: new Set(),
  }
}

function hasImage(item: ConversationItem): boolean {
  const content = item['content'] ?? item['output']
  if (!Array.isArray(content)) return false
  for (const part of content as readonly unknown[]) if (isObject(part) && part['type'] === 'input_image') return true
  return false
}
