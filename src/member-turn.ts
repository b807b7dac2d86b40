/**
 * The turns that an answer of several is made of. Each is a whole turn of its own: same history, same tools, another model.
 *
 * A member has its own session, named after the conversation's and the model, so that the model's next turn in this
 * conversation finds the backend where its prefix is warm. What is asked behind the conversation (a judge, a writer) leaves
 * everything before it as it was, so that it may find the conversation cached too.
 */
import type { JsonObject, JsonValue } from './model/json.ts'
import type { ResolvedTurn } from './model/turn.ts'
import type { Stages } from './stages.ts'

export type MemberOptions = {
  readonly stream: boolean
  /** Null: the client's. */
  readonly maxOutputTokens: number | null
  /** Log probabilities are asked for although the client did not. */
  readonly logprobs: boolean
}

export function memberTurn(base: ResolvedTurn, model: string, options: MemberOptions, stages: Stages): ResolvedTurn {
  const turn = stages.asking.underModel(base, model, [])
  return withBody(turn, base, { ...base.body, ...bodyOf(base, model, options) }, options)
}

/** `judge`: one line is wanted, and nothing that bends the form of the answer applies. */
export function followUpTurn(
  base: ResolvedTurn,
  model: string,
  text: string,
  role: 'judge' | 'writer',
  options: MemberOptions,
  stages: Stages,
): ResolvedTurn {
  const turn = stages.asking.underModel(base, model, [
    { type: 'message', role: 'user', content: [{ type: 'input_text', text }] },
  ])
  const messages = base.body['messages']
  const asked: readonly JsonValue[] = Array.isArray(messages) ? (messages as readonly JsonValue[]) : []
  const body: JsonObject = {
    ...base.body,
    ...(role === 'judge' ? FREE_OF_FORM : {}),
    ...(role === 'judge' && base.effectiveTools.length > 0 ? { tool_choice: 'none' } : {}),
    ...bodyOf(base, model, options),
    ...(base.endpoint === 'chat' ? { messages: [...asked, { role: 'user', content: text }] } : {}),
  }
  // it answers another question than the conversation's: nobody continues from it
  return { ...withBody(turn, base, body, options), newItems: [], store: false }
}

/** What a client says about the form of its answer does not hold for a verdict. */
const FREE_OF_FORM: JsonObject = {
  text: undefined,
  response_format: undefined,
  include: undefined,
  logprobs: undefined,
  top_logprobs: undefined,
  stop: undefined,
  temperature: 0,
}

function bodyOf(base: ResolvedTurn, model: string, { stream, maxOutputTokens, logprobs }: MemberOptions): JsonObject {
  const chat = base.endpoint === 'chat'
  const limit = base.body['max_completion_tokens'] === undefined ? 'max_tokens' : 'max_completion_tokens'
  const include = base.body['include']
  const asked: readonly JsonValue[] = Array.isArray(include) ? (include as readonly JsonValue[]) : []
  return {
    model,
    homing: undefined,
    ...(chat ? { stream, stream_options: stream ? { include_usage: true } : undefined, n: undefined } : {}),
    ...(maxOutputTokens === null ? {} : { [chat ? limit : 'max_output_tokens']: maxOutputTokens }),
    ...(logprobs ? (chat ? { logprobs: true } : { include: [...asked, LOGPROBS] }) : {}),
  }
}

const LOGPROBS = 'message.output_text.logprobs'

/** The same without what was asked for on behalf of the merge. */
export function withoutAskedLogprobs(turn: ResolvedTurn): ResolvedTurn {
  const { include, ...body } = turn.body
  if (turn.endpoint === 'chat') return { ...turn, body: { ...turn.body, logprobs: undefined } }
  const asked: readonly JsonValue[] = Array.isArray(include) ? (include as readonly JsonValue[]) : []
  return { ...turn, body: { ...body, include: asked.filter((name) => name !== LOGPROBS) } }
}

/** The client asked for them itself, so they stay in the answer. */
export function wantsLogprobs(turn: ResolvedTurn): boolean {
  const { body } = turn
  if (turn.endpoint === 'chat') return body['logprobs'] === true
  const include = body['include']
  const listed = Array.isArray(include) && (include as readonly JsonValue[]).includes(LOGPROBS)
  return listed || (typeof body['top_logprobs'] === 'number' && body['top_logprobs'] > 0)
}

const withBody = (
  turn: ResolvedTurn,
  base: ResolvedTurn,
  body: JsonObject,
  { stream, maxOutputTokens }: MemberOptions,
): ResolvedTurn => ({
  ...turn,
  body,
  bodyBytes: undefined,
  asking: null,
  stream,
  maxOutputTokens: maxOutputTokens ?? base.maxOutputTokens,
  // only the merged answer enters the conversation
  conversationId: null,
  session: { id: `${base.session.id}~${turn.model}`, source: base.session.source },
})
