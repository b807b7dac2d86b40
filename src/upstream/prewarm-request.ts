/**
 * The request that computes a prefix ahead: the conversation as its next turn will begin, and one token of answer.
 *
 * What follows an answer is not known, but what kind of message it is: the output of each call, or words of a person. A
 * placeholder of that kind stands in its place, so that a template renders everything before it as it will then (thoughts
 * of earlier turns are dropped when a person speaks; templates want an output for each call). The engine's prefix is the
 * same up to the placeholder.
 */
import type { Backend, Protocol, ServedModel } from '../model/backend.ts'
import type { ConversationItem } from '../model/item.ts'
import { isObject, type JsonObject, type JsonValue } from '../model/json.ts'
import type { ResolvedTurn } from '../model/turn.ts'
import { assistantText } from '../wire/item-text.ts'
import { promptStart } from '../wire/prompt-start.ts'
import { renderChat } from '../wire/render-chat.ts'
import { renderResponses } from '../wire/render-responses.ts'

/** A turn and what was answered; nothing while it runs. */
export type PrewarmPrompt = {
  readonly turn: ResolvedTurn
  readonly output: readonly ConversationItem[]
  /** The protocol that the conversation was rendered in. */
  readonly protocol: Protocol
  /** About so much of it (0..1), as of a prefix that sessions share; 1: all. */
  readonly share: number
}

export type PrewarmRequest = { readonly protocol: Protocol; readonly body: JsonObject }

/** Null where this backend cannot be told. Throws a HomingError for an item that it has no form for. */
export function prewarmRequest(prompt: PrewarmPrompt, backend: Backend, served: ServedModel): PrewarmRequest | null {
  const protocol = protocolAt(backend, prompt)
  if (protocol === null) return null
  const body = prompt.turn.endpoint === 'chat' ? chatBody(prompt, served) : renderNext(prompt, protocol, backend, served)
  const start = promptStart(body, protocol, prompt.share)
  return start === null ? null : { protocol, body: withQuestion(start, protocol) }
}

function protocolAt({ protocols }: Backend, { turn, protocol }: PrewarmPrompt): Protocol | null {
  if (protocols.has(protocol)) return protocol
  if (protocols.has('chat')) return 'chat'
  return turn.endpoint === 'responses' && protocols.has('responses') ? 'responses' : null
}

function renderNext({ turn, output }: PrewarmPrompt, protocol: Protocol, backend: Backend, served: ServedModel): JsonObject {
  const next: ResolvedTurn = { ...turn, input: [], context: [...turn.context, ...output, ...placeholders(output)] }
  return (protocol === 'chat' ? renderChat : renderResponses)(next, served, backend.engine).body
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
function chatBody({ turn, output }: PrewarmPrompt, served: ServedModel): JsonObject {
  const messages = (turn.body['messages'] ?? []) as readonly JsonValue[]
  return { ...turn.body, model: served.served, messages: [...messages, ...answerMessages(output)] }
}

function answerMessages(output: readonly ConversationItem[]): JsonObject[] {
  if (output.length === 0) return []
  const text = output.filter(({ type }) => type === 'message').map(assistantText).join('')
  const calls = output.filter(({ type }) => type === 'function_call')
  const toolCalls = calls.map((call) => ({
    id: String(call['call_id']),
    type: 'function',
    function: { name: String(call['name']), arguments: String(call['arguments']) },
  }))
  return [
    {
      role: 'assistant',
      content: text === '' && calls.length > 0 ? null : text,
      ...(calls.length > 0 && { tool_calls: toolCalls }),
    },
    ...(calls.length === 0
      ? [{ role: 'user', content: PLACEHOLDER }]
      : calls.map((call) => ({ role: 'tool', tool_call_id: String(call['call_id']), content: PLACEHOLDER }))),
  ]
}

/** A system prompt alone is no request to many templates. */
function withQuestion(body: JsonObject, protocol: Protocol): JsonObject {
  const field = protocol === 'chat' ? 'messages' : 'input'
  const items = (body[field] ?? []) as readonly JsonValue[]
  const last = items.at(-1)
  const asks = !isObject(last) || (last['role'] !== 'system' && last['role'] !== 'developer')
  return asks ? body : { ...body, [field]: [...items, { role: 'user', content: PLACEHOLDER }] }
}
