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

/**
 * What each call may write, so that prompts and answers together stay below the bound: never more than the client's own, and
 * below 1 where nothing is left. Prompts are as long as they are estimated to be; who judges or writes reads all answers, too.
 */
function shareOf(base: ResolvedTurn, ask: Asking, maxTotalTokens: number, stages: Stages): number {
  const promptTokens = Math.ceil(stages.schedulingRequest(base).promptTokens)
  const members =
    ask.kind === 'cascade'
      ? ask.models.length + (ask.models.length - 1) * (ask.samples - 1)
      : Math.min(ask.n, ask.models?.length ?? ask.n)
  const readsAll = ask.kind === 'ensemble' && (ask.merge === 'judge' || ask.merge === 'synthesis')
  const prompts = members + (readsAll ? 1 : 0)
  const answers = members + (readsAll ? 1 + members : 0)
  return Math.min(Math.floor((maxTotalTokens - prompts * promptTokens) / answers), base.maxOutputTokens ?? Infinity)
}

/** Null: no bound but the client's. */
export function outputBound(base: ResolvedTurn, ask: Asking, stages: Stages): number | null {
  if (ask.maxTotalTokens === null) return null
  const share = shareOf(base, ask, ask.maxTotalTokens, stages)
  if (share >= 1) return share
  throw new HomingError('invalid_value', {
    param: `homing.${ask.kind}.max_total_tokens`,
    why: `the prompts alone take more than ${ask.maxTotalTokens} tokens; ask fewer models or allow more`,
  })
}

/** A rule whose bound leaves nothing to write is no reason to refuse a client. */
export const isAffordable = (base: ResolvedTurn, ask: Asking, stages: Stages): boolean =>
  ask.maxTotalTokens === null || shareOf(base, ask, ask.maxTotalTokens, stages) >= 1

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
