/**
 * The request that computes a prefix ahead: the conversation as its next turn will begin, and one token of answer.
 *
 * What follows an answer is not known, but what kind of message it is: the output of each call, or words of a person. A
 * placeholder of that kind stands in its place, so that a template renders everything before it as it will then (thoughts
 * of earlier turns are dropped when a person speaks; templates want an output for each call). The engine's prefix is the
 * same up to the placeholder. Sampling, format and tools stay as they were, since some templates render them.
 */
import type { Backend, Protocol, ServedModel } from '../model/backend.ts'
import type { ConversationItem } from '../model/item.ts'
import { isObject, type JsonObject, type JsonValue } from '../model/json.ts'
import type { ResolvedTurn } from '../model/turn.ts'
import { assistantText } from '../wire/item-text.ts'
import { renderChat } from '../wire/render-chat.ts'
import { renderResponses } from '../wire/render-responses.ts'

/** A turn and what was answered; nothing while it runs. */
export type PrewarmPrompt = {
  readonly turn: ResolvedTurn
  readonly output: readonly ConversationItem[]
  /** The protocol that the conversation was rendered in. */
  readonly protocol: Protocol
  /** Only the first so many items, as of a prefix that sessions share; null: all of it. */
  readonly leadingItems: number | null
}

/** Null where this backend cannot be told. Throws a HomingError for an item that it has no form for. */
export function prewarmRequest(
  prompt: PrewarmPrompt,
  backend: Backend,
  served: ServedModel,
): { readonly protocol: Protocol; readonly body: JsonObject } | null {
  if (prompt.turn.endpoint === 'chat') {
    const body = backend.protocols.has('chat') ? chatBody(prompt, served) : null
    return body === null ? null : { protocol: 'chat', body }
  }
  const protocol = backend.protocols.has(prompt.protocol) ? prompt.protocol : backend.protocols.has('chat') ? 'chat' : 'responses'
  const turn = nextTurn(prompt)
  const { body } = protocol === 'chat' ? renderChat(turn, served, backend.engine) : renderResponses(turn, served, backend.engine)
  return { protocol, body: { ...lean(body), ...(protocol === 'chat' ? { max_tokens: 1 } : { max_output_tokens: 1 }) } }
}

/** The turn that follows, as far as it is known. */
function nextTurn({ turn, output, leadingItems }: PrewarmPrompt): ResolvedTurn {
  const known = [...turn.context, ...output]
  const context =
    leadingItems === null
      ? [...known, ...placeholders(output)]
      : [...known.slice(0, leadingItems), ...placeholders([{ type: 'message', role: 'assistant' }])]
  return { ...turn, input: [], context, contextItemIds: [], newItems: [], inputItemIds: [], maxOutputTokens: null, bodyBytes: undefined }
}

const PLACEHOLDER = '.'

function placeholders(output: readonly ConversationItem[]): ConversationItem[] {
  if (output.length === 0) return [] // a turn that runs ends with its own input
  const calls = output.filter(({ type }) => type === 'function_call' || type === 'custom_tool_call')
  if (calls.length === 0)
    return [{ type: 'message', role: 'user', content: [{ type: 'input_text', text: PLACEHOLDER }] }]
  return calls.map(({ type, call_id: id }) => ({ type: `${type}_output`, call_id: String(id), output: PLACEHOLDER }))
}

/** A Chat client sends its history itself: its own messages, and the answer as most clients send it back. */
function chatBody({ turn, output, leadingItems }: PrewarmPrompt, served: ServedModel): JsonObject | null {
  const messages = (turn.body['messages'] ?? []) as readonly JsonValue[]
  const next = leadingItems === null ? [...messages, ...answerMessages(output)] : leadingSystem(messages, leadingItems)
  if (next === null) return null
  return {
    ...lean(turn.body),
    messages: next,
    model: served.served,
    max_tokens: 1,
    stream: true,
    stream_options: { include_usage: true },
  }
}

function answerMessages(output: readonly ConversationItem[]): JsonObject[] {
  if (output.length === 0) return []
  const text = output.filter(({ type }) => type === 'message').map(assistantText).join('')
  const calls = output.filter(({ type }) => type === 'function_call')
  const toolCalls = calls.map((call) => ({
    id: String(call['call_id']), type: 'function', function: { name: String(call['name']), arguments: String(call['arguments']) },
  }))
  return [
    { role: 'assistant', content: text === '' && calls.length > 0 ? null : text, ...(calls.length > 0 && { tool_calls: toolCalls }) },
    ...(calls.length === 0
      ? [{ role: 'user', content: PLACEHOLDER }]
      : calls.map((call) => ({ role: 'tool', tool_call_id: String(call['call_id']), content: PLACEHOLDER }))),
  ]
}

/** What sessions share of a chat is known by items; only messages in front that are one item each are taken. */
function leadingSystem(messages: readonly JsonValue[], leadingItems: number): JsonObject[] | null {
  const leading: JsonObject[] = []
  for (const message of messages.slice(0, leadingItems)) {
    if (!isObject(message) || (message['role'] !== 'system' && message['role'] !== 'developer')) break
    leading.push(message)
  }
  return leading.length === 0 ? null : [...leading, { role: 'user', content: PLACEHOLDER }]
}

/** Fields that ask for more answer, or for something of the prompt that keeps an engine from its cache. */
const NOT_AHEAD = new Set([
  'max_tokens', 'max_completion_tokens', 'max_output_tokens', 'min_tokens', 'n', 'best_of', 'logprobs', 'top_logprobs', 'prompt_logprobs',
  'service_tier', 'stop', 'seed',
])

/** A demanded call needs more than one token; which calls are demanded no template renders. */
function lean(body: JsonObject): JsonObject {
  const kept = Object.entries(body).filter(
    ([name, value]) => !NOT_AHEAD.has(name) && (name !== 'tool_choice' || value === 'none' || value === 'auto'),
  )
  return Object.fromEntries(kept)
}
