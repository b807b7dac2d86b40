/** Who is asked, and how much each may write. Refuses what no answer could be merged from, with the field that is wrong. */
import type { Asking, EnsembleAsk } from './model/asking.ts'
import { HomingError } from './model/error.ts'
import { isObject, type JsonObject } from './model/json.ts'
import type { ResolvedTurn } from './model/turn.ts'
import type { Stages } from './stages.ts'
import type { Wanted } from './upstream/ensemble/doubt.ts'

export function membersOf(base: ResolvedTurn, ask: EnsembleAsk, stages: Stages): readonly string[] {
  if (ask.merge === 'synthesis' && base.effectiveTools.length > 0 && base.body['tool_choice'] !== 'none') {
    throw new HomingError('invalid_value', {
      param: 'homing.ensemble.merge',
      why: 'calls of tools cannot be written into one answer; leave the tools out, or take vote, judge or best_of',
    })
  }
  // of a group, those that nobody serves are passed over
  const models = ask.models ?? stages.asking.modelsOf(base.model)?.filter(stages.asking.offered) ?? null
  if (models === null) {
    throw new HomingError('invalid_value', {
      param: 'homing.ensemble.models',
      why: `'${base.model}' is one model, not a group of models; name the models to ask`,
    })
  }
  if (models.length === 0) throw new HomingError('model_not_found', { model: base.model, param: 'model' })
  checkOffered(models, 'homing.ensemble.models', stages)
  if (ask.judge !== null) checkOffered([ask.judge], 'homing.ensemble.judge', stages)
  if (ask.writer !== null) checkOffered([ask.writer], 'homing.ensemble.writer', stages)
  const n = Math.min(ask.n, models.length)
  return n === models.length ? models : stages.asking.chooseMembers(base, models, n)
}

export function checkOffered(models: readonly string[], at: string, stages: Stages): void {
  models.forEach((model, index) => {
    if (stages.asking.offered(model)) return
    const param = at.endsWith('models') ? `${at}[${index}]` : at
    throw new HomingError('invalid_value', { param, why: `the model '${model}' does not exist or no backend offers it` })
  })
}

/** Requests that are sent at most: members, samples, and who judges or writes. */
function callsOf(ask: Asking): number {
  if (ask.kind === 'cascade') return ask.models.length + (ask.models.length - 1) * (ask.samples - 1)
  const members = ask.models === null ? ask.n : Math.min(ask.n, ask.models.length)
  return members + (ask.merge === 'judge' || ask.merge === 'synthesis' ? 1 : 0)
}

/**
 * What each call may write, so that prompts and answers together stay below the bound; never more than the client's own.
 * Prompts are as long as they are estimated to be. Null: no bound but the client's.
 */
export function outputBound(base: ResolvedTurn, ask: Asking, stages: Stages): number | null {
  if (ask.maxTotalTokens === null) return null
  const calls = callsOf(ask)
  const promptTokens = Math.ceil(stages.schedulingRequest(base).promptTokens)
  const each = Math.floor(ask.maxTotalTokens / calls) - promptTokens
  if (each < 1) {
    throw new HomingError('invalid_value', {
      param: `homing.${ask.kind}.max_total_tokens`,
      why: `${calls} prompts of about ${promptTokens} tokens leave nothing of ${ask.maxTotalTokens} for the answers`,
    })
  }
  return Math.min(each, base.maxOutputTokens ?? Infinity)
}

/** Whether the bound leaves anything to write: a rule whose bound does not is no reason to refuse a client. */
export function isAffordable(base: ResolvedTurn, ask: Asking, stages: Stages): boolean {
  if (ask.maxTotalTokens === null) return true
  return Math.floor(ask.maxTotalTokens / callsOf(ask)) > Math.ceil(stages.schedulingRequest(base).promptTokens)
}

/** The form that the client asked for. */
export function wantsJson(base: ResolvedTurn): Wanted {
  const { text, response_format: chatFormat } = base.body
  const format = base.endpoint === 'chat' ? chatFormat : isObject(text) ? text['format'] : null
  if (!isObject(format)) return { json: false, schema: null }
  const type = format['type']
  if (type !== 'json_object' && type !== 'json_schema') return { json: false, schema: null }
  const holder: JsonObject = isObject(format['json_schema']) ? format['json_schema'] : format
  return { json: true, schema: isObject(holder['schema']) ? holder['schema'] : null }
}
