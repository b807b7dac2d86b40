/**
 * Which model answers: groups of models, what is expected of each for a turn, and what outcomes teach.
 * A turn that names a model is left alone.
 */
import type { Config } from '../config.ts'
import { nearest } from '../config/nearest.ts'
import type { DeclaredExpertise, ModelGroupConfig } from '../config/model-groups.ts'
import { ConfigError, type ConfigProblem } from '../config/problem.ts'
import type { EditableExpertise } from '../http/expertise-routes.ts'
import { Expertise } from '../learn/expertise.ts'
import { drawnSpread } from '../learn/expertise-choice.ts'
import { keepIncumbent } from '../learn/incumbent.ts'
import type { Backend } from '../model/backend.ts'
import type { ChoiceRecord } from '../model/choice.ts'
import type { ModelChoice } from '../model/decision.ts'
import { UNREAD_SUBJECT } from '../model/quality.ts'
import type { Receipt } from '../model/receipt.ts'
import type { ResolvedTurn } from '../model/turn.ts'
import type { TotalsCounter } from '../turn-totals.ts'

export type SpecialisationParts = {
  readonly config: Pick<Config, 'file' | 'modelGroups' | 'models' | 'backends' | 'learning' | 'askingRules'>
  /** Of the fingerprint; empty where there is none. */
  readonly topics: readonly string[]
  /** The model that served the conversation which the turn goes on; null where it begins, or that is not known. */
  readonly lastModel: (turn: ResolvedTurn) => string | null
  readonly random: () => number
  readonly wallMs: () => number
}

export type Specialisation = {
  readonly expertise: Expertise
  /** Something was learned or set since this was asked last. */
  readonly changed: () => boolean
  readonly counters: readonly TotalsCounter[]
  /** The same for operators, whose edits count as changes. */
  readonly editable: EditableExpertise
  readonly isGroup: (model: string) => boolean
  /** What its declaration says of the models that it serves. */
  readonly described: (backend: Backend) => void
  /** Undefined where the client named a model. `look`: nothing is drawn, since nobody will learn from it. */
  readonly choiceFor: (turn: ResolvedTurn, look?: boolean) => ModelChoice | undefined
  /** How an answer's model was chosen; null where its client named it. */
  readonly choiceOf: (receipt: Receipt) => ChoiceRecord | null
}

/** Throws ConfigError for topics that the fingerprint does not know. */
export function buildSpecialisation({ config, topics, lastModel, random, wallMs }: SpecialisationParts): Specialisation {
  checkTopics(config, topics)
  const { halfLifeMs, exploration, shareBetweenTenants } = config.learning
  // read by name when a model is first asked for; backends add what they declare as they become known
  const priors: Record<string, DeclaredExpertise> = {}
  for (const [name, { specialisesIn }] of Object.entries(config.models)) priors[name] = specialisesIn
  const expertise = new Expertise({ halfLifeMs, exploration, shareBetweenTenants, priors, random, wallMs })
  const groups = new Map(config.modelGroups.map((group) => [group.name, group]))
  let [edits, written] = [0, 0]
  return {
    expertise,
    editable: {
      table: (tenant) => expertise.table(tenant),
      edit: (edit) => {
        edits++
        expertise.edit(edit)
      },
    },
    counters: [
      {
        name: 'homing_lessons_total',
        help: 'Graded answers that taught the expertise of models, and those that could not.',
        labelNames: ['result'],
        read: () => [
          { labels: { result: 'learned' }, value: expertise.counts.lessons },
          { labels: { result: 'refused' }, value: expertise.counts.refused },
        ],
      },
      {
        name: 'homing_model_changes_total',
        help: 'Times a model was found to have become better or worse.',
        labelNames: [],
        read: () => [{ labels: {}, value: expertise.counts.changes }],
      },
    ],
    changed: () => {
      const now = expertise.counts.lessons + edits
      const different = now !== written
      written = now
      return different
    },
    isGroup: (model) => groups.has(model),
    described: ({ config: { specialisesIn }, models }) => {
      if (specialisesIn === undefined) return
      for (const name of models.keys()) priors[name] = { ...specialisesIn, ...config.models[name]?.specialisesIn }
    },
    choiceFor: (turn, look = false) => {
      const group = groups.get(turn.model)
      if (group === undefined) return undefined
      const served = lastModel(turn)
      const incumbent = served !== null && group.models.includes(served) ? served : null
      const expected = expertise.expect(turn.tenant, group.models, turn.subject ?? UNREAD_SUBJECT)
      const begun = look ? expected.map((quality) => ({ ...quality, drawn: quality.mean })) : expected
      const judged = incumbent === null ? begun : keepIncumbent(expected, incumbent)
      return {
        options: judged.map((quality) => ({ model: quality.model, chain: turn.chain.forModel(quality.model), quality })),
        secondsPerQuality: secondsPerQuality(group),
        incumbent,
      }
    },
    choiceOf: ({ group: asked, model, failovers, policy }) => {
      const group = asked === undefined ? undefined : groups.get(asked.name)
      if (asked === undefined || group === undefined) return null
      const price = secondsPerQuality(group)
      // The log has the deviations that were drawn with: from them choices can be computed again.
      const spread = drawnSpread(asked.considered.length)
      const served = asked.considered.flatMap(({ seconds, deviation, ...quality }) =>
        seconds === null ? [] : [{ ...quality, deviation: spread * deviation, seconds }],
      )
      // Of a conversation that goes on nothing was drawn; where quality has no price, it decided nothing, and neither did it where
      // a published rule chose the backend or the chosen one failed.
      const drawn = asked.incumbent === null && price > 0 && failovers.length === 0 && policy === undefined
      const propensities = drawn
        ? expertise.probabilities(served, served.map(({ seconds }) => seconds / price))
        : served.map((each) => (each.model === model ? 1 : 0))
      return {
        group: asked.name,
        secondsPerQuality: price,
        drawn,
        considered: served.map(({ model, mean, deviation, drawn, seconds }, at) => ({ model, mean, deviation, drawn, seconds, propensity: propensities[at]! })),
      }
    },
  }
}

/** Throws ConfigError for topics that the fingerprint does not know. */
export function checkTopics({ file, models, backends, askingRules }: SpecialisationParts['config'], topics: readonly string[]): void {
  const problems: ConfigProblem[] = []
  const checkTopic = (path: string, topic: string): void => {
    if (topics.includes(topic)) return
    const message = topics.length === 0 ? 'fingerprints are switched off, so no topic is ever known' : `is no topic; ${nearest(topic, topics)}`
    problems.push({ path, message, line: null })
  }
  const check = (path: string, declared: DeclaredExpertise | undefined): void => {
    for (const topic of Object.keys(declared ?? {})) checkTopic(`${path}.specialises_in.${topic}`, topic)
  }
  for (const [name, { specialisesIn }] of Object.entries(models)) check(`models.${name}`, specialisesIn)
  backends.forEach(({ specialisesIn }, at) => check(`backends[${at}]`, specialisesIn))
  for (const { at, topics: own } of askingRules) for (const topic of own ?? []) checkTopic(`${at}.topics.${topic}`, topic)
  if (problems.length > 0) throw new ConfigError(problems, file)
}

const secondsPerQuality = ({ secondsPerQualityPoint }: ModelGroupConfig): number => POINTS * secondsPerQualityPoint

/** Points of quality in a whole one. */
const POINTS = 100
