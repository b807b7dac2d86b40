/**
 * Which model answers: groups of models, what is expected of each for a turn, and what outcomes teach.
 * A turn that names a model is left alone.
 */
import type { ModelGroupConfig } from '../config/model-groups.ts'
import { keepIncumbent } from '../learn/incumbent.ts'
import type { ModelChoice } from '../model/decision.ts'
import type { ExpectedQuality, Subject } from '../model/quality.ts'
import type { ResolvedTurn } from '../model/turn.ts'

export type SpecialisationParts = {
  readonly groups: readonly ModelGroupConfig[]
  /** What is believed of each model's answer, in the order of the models. */
  readonly expect: (tenant: string, models: readonly string[], subject: Subject) => readonly ExpectedQuality[]
  /** The model of the session's last turn, null where it is not known. */
  readonly lastModel: (turn: ResolvedTurn) => string | null
}

export type Specialisation = {
  readonly groups: readonly ModelGroupConfig[]
  readonly isGroup: (model: string) => boolean
  /** Undefined where the client named a model. */
  readonly choiceFor: (turn: ResolvedTurn) => ModelChoice | undefined
}

export function buildSpecialisation({ groups, expect, lastModel }: SpecialisationParts): Specialisation {
  const byName = new Map(groups.map((group) => [group.name, group]))
  return {
    groups,
    isGroup: (model) => byName.has(model),
    choiceFor: (turn) => {
      const group = byName.get(turn.model)
      if (group === undefined) return undefined
      const incumbent = goesOn(turn) ? (turn.parent?.model ?? lastModel(turn)) : null
      const known = incumbent !== null && group.models.includes(incumbent) ? incumbent : null
      const expected = expect(turn.tenant, group.models, turn.subject ?? UNREAD)
      const judged = known === null ? expected : keepIncumbent(expected, known)
      return {
        options: judged.map((quality) => ({ model: quality.model, chain: turn.chain.forModel(quality.model), quality })),
        secondsPerQuality: POINTS * group.secondsPerQualityPoint,
        incumbent: known,
      }
    },
  }
}

/** A turn that could not be fingerprinted, or where fingerprints are switched off. */
const UNREAD: Subject = { topics: [], intent: ['', 0], inScope: 0, complexity: 0.5 }

/** Points of quality in a whole one. */
const POINTS = 100

/** Something of it was answered before. The same question from the start is no conversation that goes on. */
function goesOn({ parent, context }: ResolvedTurn): boolean {
  if (parent !== null) return true
  for (let at = context.length - 1; at >= 0; at--) if (context[at]!['role'] === 'assistant') return true
  return false
}
