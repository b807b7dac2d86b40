/** `ensembles` and `cascades`: rules by which several models are asked although the client did not say so. */
import { MERGES, MOST_MEMBERS, type Asking, type CascadeAsk, type EnsembleAsk, type Merge } from '../model/asking.ts'
import { formatPath, isMapping, Section, type Place, type Reader } from './place.ts'
import { duration, integer, list, oneOf, text, truth } from './values.ts'

export type AskingRule = {
  /** Where it stands in the configuration. */
  readonly at: string
  /** The model or group that clients ask for. */
  readonly model: string
  /** Null: whatever the turn is about. */
  readonly topics: readonly string[] | null
  /** 0: however easy. */
  readonly complexityAtLeast: number
  readonly asking: Asking
}

const WHEN = ['model', 'topics', 'complexity_at_least']
const ENSEMBLE_KEYS = [...WHEN, 'models', 'n', 'merge', 'weighted', 'judge', 'writer', 'quorum', 'deadline', 'max_total_tokens']
const CASCADE_KEYS = [...WHEN, 'models', 'confidence', 'samples', 'max_total_tokens']
const DEFAULT_MEMBERS = 3
const MOST_STEPS = 4
const MOST_SAMPLES = 5

/** Cascades come behind ensembles: the first rule that applies is taken. */
export function readAskingRules(section: Section, groups: ReadonlySet<string>): readonly AskingRule[] {
  return [
    ...section.read<readonly AskingRule[]>('ensembles', list(ensembleRule(groups)), []),
    ...section.read<readonly AskingRule[]>('cascades', list(cascadeRule), []),
  ]
}

const ensembleRule = (groups: ReadonlySet<string>): Reader<AskingRule> => (value, place) => {
  if (!isMapping(value)) return void new Section(value, place, ENSEMBLE_KEYS)
  const section = new Section(value, place, ENSEMBLE_KEYS)
  const when = readWhen(section, place)
  const merge = section.required('merge', oneOf<Merge>(...MERGES))
  const models = section.read<readonly string[] | null>('models', list(text), null)
  const most = models === null ? MOST_MEMBERS : Math.min(MOST_MEMBERS, models.length)
  const n = section.read('n', upTo(1, most), models === null ? DEFAULT_MEMBERS : Math.max(1, most))
  if (models === null && when !== undefined && !groups.has(when.model))
    place.at('models').problem(`missing: '${when.model}' is no group, so the models to ask have to be named`)
  const judge = section.read<string | null>('judge', text, null)
  const writer = section.read<string | null>('writer', text, null)
  if (merge === 'judge' && judge === null) place.at('judge').problem("missing: the merge 'judge' needs a model that judges")
  if (merge !== undefined && merge !== 'vote' && section.has('weighted')) place.at('weighted').problem(`has no part in the merge '${merge}'`)
  if (merge !== undefined && merge !== 'judge' && judge !== null) place.at('judge').problem(`has no part in the merge '${merge}'`)
  if (merge !== undefined && merge !== 'synthesis' && writer !== null) place.at('writer').problem(`has no part in the merge '${merge}'`)
  const asking = {
    kind: 'ensemble',
    models,
    n,
    weighted: section.read('weighted', truth, false),
    judge,
    writer,
    quorum: section.read<number | null>('quorum', upTo(1, n), null),
    deadlineMs: section.read<number | null>('deadline', duration(1), null),
    maxTotalTokens: section.read<number | null>('max_total_tokens', integer(1), null),
  } satisfies Omit<EnsembleAsk, 'merge'>
  return when === undefined || merge === undefined ? undefined : { ...when, asking: { ...asking, merge } }
}

const cascadeRule: Reader<AskingRule> = (value, place) => {
  if (!isMapping(value)) return void new Section(value, place, CASCADE_KEYS)
  const section = new Section(value, place, CASCADE_KEYS)
  const when = readWhen(section, place)
  const models = section.required('models', list(text))
  if (models === undefined) return undefined
  if (models.length < 2 || models.length > MOST_STEPS || new Set(models).size < models.length)
    return place.at('models').problem(`expected 2 to ${MOST_STEPS} different models, the cheapest first`)
  const asking: CascadeAsk = {
    kind: 'cascade',
    models,
    confidence: section.read<number | null>('confidence', share, null),
    samples: section.read('samples', upTo(1, MOST_SAMPLES), 1),
    maxTotalTokens: section.read<number | null>('max_total_tokens', integer(1), null),
  }
  return when === undefined ? undefined : { ...when, asking }
}

function readWhen(section: Section, place: Place): Omit<AskingRule, 'asking'> | undefined {
  const model = section.required('model', text)
  const topics = section.read<readonly string[] | null>('topics', list(text), null)
  const complexityAtLeast = section.read('complexity_at_least', share, 0)
  return model === undefined ? undefined : { at: formatPath(place.path), model, topics, complexityAtLeast }
}

const share: Reader<number> = (value, place) =>
  typeof value === 'number' && value >= 0 && value <= 1 ? value : place.problem('expected a number from 0 to 1')

function upTo(least: number, most: number): Reader<number> {
  return (value: unknown, place: Place) =>
    typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most
      ? value
      : place.problem(`expected a whole number from ${least} to ${most}`)
}
