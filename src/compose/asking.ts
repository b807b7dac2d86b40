/** What asking several models needs: who there is, what is expected of them, the rules of the configuration. */
import type { Logger } from 'pino'
import type { AskingStages } from '../asking-stages.ts'
import type { Config } from '../config.ts'
import type { AskingRule } from '../config/ensembles.ts'
import { GROUP_DEFAULTS } from '../config/model-groups.ts'
import { rememberTurn, underModel } from '../conversation/resolve.ts'
import { systemAfter } from '../fleet/timers.ts'
import type { Escalations } from '../learn/escalations.ts'
import type { Metrics } from '../metrics.ts'
import type { Asking } from '../model/asking.ts'
import { UNREAD_SUBJECT, type ExpectedQuality, type Subject } from '../model/quality.ts'
import type { ResolvedTurn } from '../model/turn.ts'
import type { Conversations } from './conversations.ts'
import type { Fingerprints } from './fingerprints.ts'
import type { Fleet } from './fleet.ts'
import { logLine } from './log.ts'
import type { ImplicitSignals } from './signals.ts'

/** What has been learned of who is good at what. */
export interface ExpertisePort {
  expect(tenant: string, models: readonly string[], subject: Subject): readonly ExpectedQuality[]
  complementary(tenant: string, models: readonly string[], subject: Subject, n: number): readonly string[]
}

export type AskingParts = {
  readonly config: Pick<Config, 'askingRules' | 'modelGroups'>
  readonly fleet: Fleet
  readonly conversations: Conversations
  readonly fingerprints: Fingerprints
  readonly expertise: ExpertisePort
  readonly escalations: Escalations
  readonly logprobs: AskingStages['logprobs']
  readonly signals: ImplicitSignals
  readonly metrics: Metrics
  readonly log: Logger
}

export function buildAsking(parts: AskingParts): AskingStages {
  const { fleet, conversations, fingerprints, expertise, escalations, logprobs, signals, metrics, log } = parts
  const { askingRules: rules, modelGroups } = parts.config
  const groups = new Map(modelGroups.map((group) => [group.name, group]))
  const { sessions, lastTurns, resolvePorts } = conversations
  const offered = (model: string): boolean =>
    fleet.registry.list().some(({ models, healthy }) => models.has(model) || (!healthy && models.size === 0))
  return {
    ruleFor: (turn) => {
      if (rules.length === 0) return null
      const ofModel = rules.filter(({ model }) => model === turn.model)
      if (ofModel.length === 0) return null
      const described = turn.fingerprint === undefined && ofModel.some(readsSubject) ? fingerprints.add(turn, false) : turn
      const rule = ofModel.find((each) => applies(each, described))
      if (rule === undefined) return null
      const asking = usable(rule.asking, groups.get(turn.model)?.models ?? null, offered)
      if (asking === null) metrics.fallback('ensemble_rule_unusable')
      return asking
    },
    modelsOf: (name) => groups.get(name)?.models ?? null,
    secondsPerQuality: (name) => 100 * (groups.get(name)?.secondsPerQualityPoint ?? GROUP_DEFAULTS.secondsPerQualityPoint),
    offered,
    chooseMembers: (turn, models, n) => expertise.complementary(turn.tenant, models, turn.subject ?? UNREAD_SUBJECT, n),
    qualities: (turn, models) => expertise.expect(turn.tenant, models, turn.subject ?? UNREAD_SUBJECT).map(({ mean }) => mean),
    underModel: (turn, model, added) => underModel(turn, model, added, resolvePorts),
    adopt: (turn, output, storedId, { model, backendId }) => {
      sessions.rememberHome(turn.tenant, turn.session.id, backendId)
      const stored = storedId === null ? null : { id: storedId, outputIds: output.map(({ id }) => id) }
      const chain = rememberTurn(turn, output, stored, resolvePorts).forModel(model)
      lastTurns.remember(underModel(turn, model, [], resolvePorts), chain, output.some(({ type }) => type === 'reasoning'))
    },
    notice: signals.notice,
    escalations,
    logprobs,
    observe: (turn, receipt) => {
      if (receipt.asking !== undefined) metrics.asked(receipt.asking, receipt.outcome)
      log.info({ ensemble: { ...logLine(turn.tenant, receipt), asking: receipt.asking } }, 'ensemble')
    },
    refused: (merge, code) => metrics.askedInVain(merge, code),
    fallback: (what) => metrics.fallback(what),
    random: Math.random,
    after: systemAfter,
  }
}

const readsSubject = ({ topics, complexityAtLeast }: AskingRule): boolean => topics !== null || complexityAtLeast > 0

/** More likely than not one of the topics. */
const LIKELY = 0.5

function applies(rule: AskingRule, { fingerprint, effectiveTools, body }: ResolvedTurn): boolean {
  // what could not be merged is answered by one model
  if (typeof body['n'] === 'number' && body['n'] > 1) return false
  const { asking } = rule
  if (asking.kind === 'ensemble' && asking.merge === 'synthesis' && effectiveTools.length > 0) return false
  if (!readsSubject(rule)) return true
  if (fingerprint === undefined || fingerprint.complexity < rule.complexityAtLeast) return false
  if (rule.topics === null) return true
  const belief = fingerprint.topics.reduce((sum, [name, probability]) => sum + (rule.topics!.includes(name) ? probability : 0), 0)
  return belief >= LIKELY
}

/** The rule with the models that somebody offers; null where too few are left. Its client asked for nothing, so it is not refused. */
function usable(asking: Asking, group: readonly string[] | null, offered: (model: string) => boolean): Asking | null {
  const models = (asking.models ?? group ?? []).filter(offered)
  if (asking.kind === 'cascade') return models.length < 2 ? null : { ...asking, models }
  const others = [asking.judge, asking.writer].filter((model) => model !== null)
  if (models.length === 0 || !others.every(offered)) return null
  return { ...asking, models, n: Math.min(asking.n, models.length) }
}
