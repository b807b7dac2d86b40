/**
 * The one answer of several: what the client gets under its id, what is stored, what the conversation goes on from.
 *
 * It holds the items of the answer that was chosen (the same ids), its own id, the usage of all members added up in the
 * standard fields, and under `homing` who was asked and what decided. Its receipt is the chosen member's under the merged
 * id, with the same note. Members have their own ids, receipts and, in Responses with `store`, stored responses; none of them
 * enters the conversation. Order: stored before the last event leaves.
 */
import { storageFailure } from './answer-responses.ts'
import type { MemberAnswer } from './member-run.ts'
import type { AskingNote, MemberNote } from './model/asking.ts'
import { HomingError } from './model/error.ts'
import type { ConversationItem, StoredItem } from './model/item.ts'
import { isObject, type JsonObject, type JsonValue } from './model/json.ts'
import type { Receipt } from './model/receipt.ts'
import type { ResolvedTurn } from './model/turn.ts'
import type { Usage } from './model/usage.ts'
import type { Stages } from './stages.ts'
import { recordOf } from './turn-record.ts'
import type { ClientSink } from './upstream/client-sink.ts'
import { ChatVoice } from './upstream/ensemble/chat-voice.ts'
import type { MergedVoice } from './upstream/ensemble/merged-voice.ts'
import { ResponsesVoice } from './upstream/ensemble/responses-voice.ts'
import { usageToChat, usageToResponses } from './wire/usage-shape.ts'

export type Merged = {
  readonly answer: MemberAnswer
  readonly note: AskingNote
  /** Everything that was asked, for the usage. */
  readonly asked: readonly MemberAnswer[]
}

export class MergedAnswer {
  readonly id: string
  readonly voice: MergedVoice
  readonly #turn: ResolvedTurn
  readonly #stages: Stages
  readonly #createdAtMs: number
  readonly #merge: AskingNote['merge']

  constructor(turn: ResolvedTurn, merge: AskingNote['merge'], sink: ClientSink, stages: Stages) {
    this.#turn = turn
    this.#stages = stages
    this.#merge = merge
    this.#createdAtMs = stages.wallMs()
    const own = stages.newId('resp')
    const headers = (): Record<string, string> => ({ 'x-homing-backend': 'pending', ...this.#header() })
    if (turn.endpoint === 'responses') {
      this.id = own
      this.voice = new ResponsesVoice(sink, turn.stream, this.#resource(turn.model), headers)
      return
    }
    this.id = `chatcmpl-${own.slice(own.indexOf('_') + 1)}`
    const options = turn.body['stream_options']
    const wantsUsage = isObject(options) && options['include_usage'] === true
    this.voice = new ChatVoice(sink, { id: this.id, stream: turn.stream, wantsUsage, headers })
  }

  /** Ends it with the answer of one member. */
  async finish({ answer, note, asked }: Merged): Promise<void> {
    const turn = this.#turn
    const usage = sumOf(asked)
    const headers = { ...withoutContent(answer.headers), ...this.#header() }
    const usageBody = turn.endpoint === 'chat' ? usageToChat : usageToResponses
    const homing = { [note.merge === 'cascade' ? 'cascade' : 'ensemble']: noteBody(note, usageBody) }
    let receipt: Receipt = ownReceipt(answer.receipt!, this.id, turn, note)
    this.#stages.receipts.put(turn, receipt)
    this.#notice(answer)
    if (turn.endpoint === 'chat') {
      this.#adopt(answer, [], null)
      const { choices, ...rest } = answer.body ?? {}
      const body = { ...rest, id: this.id, model: answer.model, choices, usage: usageBody(usage), homing }
      this.voice.finish({ body, output: answer.output, headers })
      return this.#stages.asking.observe(turn, receipt)
    }
    const output = (answer.status === 'failed' ? writtenIn(answer.body) : answer.output) as readonly StoredItem[]
    let final: JsonObject = {
      ...this.#resource(answer.model),
      ...endingOf(answer.body ?? {}),
      output,
      usage: usageBody(usage),
      homing,
    }
    const diagnostics = await this.#stages.diagnose(turn, receipt)
    if (diagnostics !== null) final = { ...final, prompt_cache_diagnostics: diagnostics }
    const failed = final['status'] === 'failed'
    if (!failed) this.#adopt(answer, output, turn.store ? this.id : null)
    if (turn.store) {
      try {
        await this.#stages.save(recordOf(turn, final, output, receipt, this.#createdAtMs))
      } catch (error) {
        const failure = storageFailure(error)
        receipt = { ...receipt, outcome: 'failed', trouble: 'the answer could not be stored' }
        this.#stages.receipts.put(turn, receipt)
        this.#stages.asking.observe(turn, receipt)
        if (!turn.stream) throw failure
        const told = { code: 'server_error', message: failure.message }
        final = { ...final, status: 'failed', completed_at: null, incomplete_details: null, error: told }
        return this.voice.finish({ body: final, output, headers })
      }
    }
    this.voice.finish({ body: final, output, headers })
    this.#stages.asking.observe(turn, receipt)
  }

  /** An answer that broke off when part of it had been seen: it ends as failed, and in Responses is kept as that. */
  async finishBroken(merged: Merged): Promise<void> {
    const { error, receipt, body } = merged.answer
    if (this.#turn.endpoint === 'responses' && receipt !== null && body !== null) return this.finish(merged)
    throw error ?? new HomingError('backend_error', { why: 'The answer broke off.' })
  }

  /** No answer can be given: a refusal while nothing has left, else an event. */
  refuse(error: HomingError): void {
    this.#stages.asking.refused(this.#merge, error.code)
    if (!this.voice.committed) throw error
    this.voice.fail(error)
  }

  #adopt(answer: MemberAnswer, output: readonly ConversationItem[], storedId: string | null): void {
    const items = this.#turn.endpoint === 'chat' ? answer.output : output
    const { backendId } = answer.receipt!
    this.#stages.asking.adopt(this.#turn, items as readonly StoredItem[], storedId, { model: answer.model, backendId })
  }

  #notice({ learned, output }: MemberAnswer): void {
    if (learned === null) return
    const { outcome, cut } = learned
    this.#stages.asking.notice(outcome, this.#turn, { id: this.id, output: output as readonly StoredItem[], cut })
  }

  #resource(model: string): JsonObject {
    const turn = this.#turn
    const created = Math.floor(this.#createdAtMs / 1000)
    return this.#stages.newResource({ ...turn, model }, turn.effectiveTools, this.id, created)
  }

  #header(): Record<string, string> {
    return { 'x-homing-ensemble': this.#merge }
  }
}

/** The items of an answer that failed, as far as they were written. */
const writtenIn = (body: JsonObject | null): readonly JsonValue[] =>
  Array.isArray(body?.['output']) ? (body['output'] as readonly JsonValue[]) : []

const endingOf = ({ status, completed_at, incomplete_details, error }: JsonObject): JsonObject => ({
  status: status ?? 'completed',
  completed_at: completed_at ?? null,
  incomplete_details: incomplete_details ?? null,
  error: error ?? null,
})

function ownReceipt(receipt: Receipt, id: string, turn: ResolvedTurn, asking: AskingNote): Receipt {
  const { memberOf: _memberOf, ...rest } = receipt
  return { ...rest, id, session: turn.session, asking }
}

/** The member's headers say where the answer is from; those of its body are not ours. */
const withoutContent = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith('x-homing-')))

export function sumOf(asked: readonly MemberAnswer[]): Usage {
  let promptTokens = 0
  let cachedTokens = 0
  let outputTokens = 0
  let reasoningTokens = 0
  for (const { usage } of asked) {
    if (usage === null) continue
    promptTokens += usage.promptTokens
    cachedTokens += usage.cachedTokens ?? 0
    outputTokens += usage.outputTokens
    reasoningTokens += usage.reasoningTokens ?? 0
  }
  return { promptTokens, cachedTokens, outputTokens, reasoningTokens }
}

export const memberNote = (answer: MemberAnswer, vote: number | null = null): MemberNote => ({
  id: answer.id,
  model: answer.model,
  role: answer.role,
  status: answer.status,
  ...(answer.error === null ? {} : { error: answer.error.code }),
  ...(vote === null ? {} : { vote }),
  ...(answer.confidence === null ? {} : { confidence: Math.round(answer.confidence * 1000) / 1000 }),
  usage: answer.usage,
})

/** In the API's own case. */
function noteBody(note: AskingNote, usageBody: (usage: Usage) => JsonObject): JsonObject {
  return {
    merge: note.merge,
    decided_by: note.decidedBy,
    chosen: note.chosen,
    ...(note.agreement === undefined ? {} : { agreement: Math.round(note.agreement * 1000) / 1000 }),
    ...(note.escalations === undefined ? {} : { escalations: note.escalations as unknown as JsonValue }),
    members: note.members.map(({ usage, ...member }) => ({
      ...member,
      usage: usage === null ? null : usageBody(usage),
    })),
  }
}
