/**
 * One of several turns that make an answer: a whole turn through all stages, so that budgets, ledger, cache index, learning,
 * store and receipts hold for it as for any other. Only its client is another: the answer is collected, or handed on event
 * by event where it is the one that the client gets.
 */
import { answerTurn } from './answer-turn.ts'
import { withoutAskedLogprobs } from './member-turn.ts'
import type { MemberNote, MemberStatus } from './model/asking.ts'
import { Cancellation, type CancelSignal } from './model/cancellation.ts'
import { HomingError } from './model/error.ts'
import type { ConversationItem, StoredItem } from './model/item.ts'
import { isObject, type JsonObject, type JsonValue } from './model/json.ts'
import type { Outcome } from './model/outcome.ts'
import type { Receipt } from './model/receipt.ts'
import type { ResolvedTurn } from './model/turn.ts'
import type { Usage } from './model/usage.ts'
import type { Answer, Stages } from './stages.ts'
import { CollectingSink, type LiveEvents } from './upstream/ensemble/collecting-sink.ts'
import { confidenceOf } from './upstream/ensemble/doubt.ts'
import { withoutLogprobs } from './upstream/ensemble/without-logprobs.ts'
import { usageFromChat, usageFromResponses } from './wire/usage-shape.ts'

export type MemberAnswer = {
  readonly model: string
  readonly role: MemberNote['role']
  readonly status: MemberStatus
  /** Null: no backend answered. */
  readonly id: string | null
  readonly output: readonly ConversationItem[]
  /** The answer as its client would have got it; of a stream the last event. Null where there is none. */
  readonly body: JsonObject | null
  readonly headers: Readonly<Record<string, string>>
  readonly receipt: Receipt | null
  readonly usage: Usage | null
  readonly confidence: number | null
  /** What learning was told of it; null where no backend answered. */
  readonly learned: { readonly outcome: Outcome; readonly cut: Answer['cut'] } | null
  readonly error: HomingError | null
}

export type MemberParts = {
  readonly turn: ResolvedTurn
  readonly role: MemberNote['role']
  readonly mergedId: string
  readonly stages: Stages
  /** The client left, or the whole is over. */
  readonly signal: CancelSignal
  /** Its events go to the client as they come. */
  readonly live?: LiveEvents
  /** Log probabilities were asked for on behalf of the merge. */
  readonly logprobs?: boolean
}

export class Member {
  readonly model: string
  readonly role: MemberNote['role']
  readonly done: Promise<MemberAnswer>
  /** Null while it runs. */
  answer: MemberAnswer | null = null
  readonly #abort = new Cancellation()

  constructor(parts: MemberParts) {
    this.model = parts.turn.model
    this.role = parts.role
    const cancel = (): void => this.cancel()
    if (parts.signal.aborted) this.cancel()
    else parts.signal.addEventListener('abort', cancel, { once: true })
    this.done = run(parts, this.#abort).then((answer) => {
      parts.signal.removeEventListener('abort', cancel)
      this.answer = answer
      return answer
    })
  }

  cancel(): void {
    this.#abort.abort()
  }
}

/** Log probabilities are a help, not a condition: a backend that refuses them is asked without. */
async function run(parts: MemberParts, abort: Cancellation): Promise<MemberAnswer> {
  if (parts.logprobs !== true) return ask(parts, abort)
  const { turn } = parts
  const { logprobs } = parts.stages.asking
  const without = { ...parts, turn: withoutAskedLogprobs(turn), logprobs: false }
  if (!logprobs.tells(turn.model)) return ask(without, abort)
  const answer = await ask(parts, abort)
  if (answer.error?.code !== 'backend_rejected' || abort.aborted) return answer
  const second = await ask(without, abort)
  if (second.status === 'completed' || second.status === 'incomplete') {
    logprobs.refused(turn.model)
    parts.stages.asking.fallback('ensemble_logprobs_refused')
  }
  return second
}

async function ask(parts: MemberParts, abort: Cancellation): Promise<MemberAnswer> {
  const { turn, role, mergedId, stages } = parts
  const strips = parts.logprobs === true
  const sink = new CollectingSink(parts.live === undefined ? null : underName(parts.live, turn))
  let receipt: Receipt | null = null
  let output: readonly ConversationItem[] = []
  let learned: MemberAnswer['learned'] = null
  const ofMember = (made: Receipt): Receipt => ({ ...made, memberOf: mergedId })
  const clean = <T extends ConversationItem>(items: readonly T[]): readonly T[] => (strips ? items.map(withoutLogprobs) : items)
  const own: Stages = {
    ...stages,
    receipts: {
      put: (described, made) => {
        receipt = ofMember(made)
        stages.receipts.put(described, receipt)
      },
    },
    observe: (described, made, result) => stages.observe(described, ofMember(made), result),
    learn: (outcome, described, answer) => {
      learned = { outcome, cut: answer?.cut ?? null }
      return stages.learn(outcome, described, null)
    },
    remember: (described, placed, written, ...rest) => {
      output = clean(written)
      return stages.remember(described, placed, clean(written), ...rest)
    },
    save: ({ response, items, conversationAppend }) =>
      stages.save({
        response: {
          ...response,
          resource: { ...strippedBody(response.resource, strips), homing: { member_of: mergedId } },
          receipt: response.receipt === null ? null : ofMember(response.receipt),
        },
        items: clean(items),
        conversationAppend,
      }),
  }
  let error: HomingError | null = null
  try {
    if (!abort.aborted) await answerTurn(turn, sink, abort, own)
  } catch (cause) {
    error = cause instanceof HomingError ? cause : new HomingError('server_error', {}, { cause })
  }
  const body = sink.body
  const made = receipt as Receipt | null
  const status = error !== null ? (abort.aborted ? 'cancelled' : 'failed') : (statusOf(made) ?? (abort.aborted ? 'cancelled' : 'failed'))
  return {
    model: turn.model,
    role,
    status,
    id: made?.id ?? null,
    output: status === 'completed' || status === 'incomplete' ? output : [],
    body: body === null ? null : strippedBody(responseIn(body), strips),
    headers: sink.headers,
    receipt: made,
    usage: usageOf(turn, body, made),
    learned: learned as MemberAnswer['learned'],
    confidence: body === null ? null : confidenceOf(logprobsIn(turn, responseIn(body))),
    error: status === 'failed' ? (error ?? new HomingError('backend_error', { why: made?.trouble ?? 'The answer broke off.' })) : null,
  }
}

/** Chunks of Chat as the merged answer tells them: of the member's model, whatever its backend calls it. */
const underName = (live: LiveEvents, { endpoint, model }: ResolvedTurn): LiveEvents =>
  endpoint === 'chat' ? { ...live, take: (chunk) => live.take({ ...chunk, model }) } : live

const statusOf = (receipt: Receipt | null): MemberStatus | null =>
  receipt === null || receipt.outcome === 'in_progress' ? null : receipt.outcome

/** The last event of a Responses stream holds the response. */
const responseIn = (body: JsonObject): JsonObject => (isObject(body['response']) ? body['response'] : body)

/** As the engine reported it; of one that was called off what its receipt knows. */
function usageOf(turn: ResolvedTurn, body: JsonObject | null, receipt: Receipt | null): Usage | null {
  const reported = body === null ? undefined : responseIn(body)['usage']
  const usage = turn.endpoint === 'chat' ? usageFromChat(reported, undefined) : usageFromResponses(reported, undefined)
  if (usage !== null || receipt === null) return usage
  const { promptTokens, cachedTokens, outputTokens } = receipt
  const read = promptTokens.actual ?? (receipt.ttftMs === null ? 0 : promptTokens.expected)
  return { promptTokens: read, cachedTokens: cachedTokens.actual, outputTokens: outputTokens ?? 0, reasoningTokens: null }
}

function logprobsIn(turn: ResolvedTurn, body: JsonObject): readonly JsonValue[] {
  const list = (value: JsonValue | undefined): readonly JsonValue[] => (Array.isArray(value) ? (value as readonly JsonValue[]) : [])
  if (turn.endpoint === 'chat') {
    const [first] = list(body['choices'])
    const logprobs = isObject(first) ? first['logprobs'] : null
    return isObject(logprobs) ? list(logprobs['content']) : []
  }
  return list(body['output'])
    .filter(isObject)
    .flatMap((item) => list(item['content']).filter(isObject).flatMap((part) => list(part['logprobs'])))
}

function strippedBody(body: JsonObject, strips: boolean): JsonObject {
  if (!strips) return body
  const { output, choices } = body
  if (Array.isArray(output)) return { ...body, output: (output as readonly StoredItem[]).map(withoutLogprobs) }
  if (!Array.isArray(choices)) return body
  return { ...body, choices: (choices as readonly JsonObject[]).map((choice) => ({ ...choice, logprobs: null })) }
}
