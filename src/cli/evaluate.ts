import { createReadStream, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parse } from 'yaml'
import { seededRandom } from '../../sim/random.ts'
import { ChoiceLines, type GradedChoice, type LineCounts } from '../learn/evaluation/choice-lines.ts'
import { evaluate as estimate, type Estimate, type PolicyEstimates } from '../learn/evaluation/off-policy.ts'
import { always, done, greedy, priced, tabled, type TargetPolicy } from '../learn/evaluation/target-policies.ts'
import { LOG_PREFIX, LOG_SUFFIX } from '../learn/outcomes/choice-log.ts'
import { numbersIn } from '../learn/outcomes/numbered-files.ts'
import { textOption, textOptions, UsageError, type Command, type CommandInput } from './command.ts'
import { table } from './text-table.ts'

const CONFIDENCE = 0.95

export const evaluate: Command = {
  name: 'evaluate',
  summary: 'tell from the log of choices what another way of choosing models would have scored',
  description:
    'Reads the log of choices of a gateway (STORE/choices, or one file of it) and estimates, with 95 % intervals, the mean score of\n' +
    'what was done, of always asking one model, of the best by expectation, and of the policies that are named. Only choices that\n' +
    'were graded count. Policies: always:MODEL, greedy, seconds_per_quality_point:S, table:FILE (YAML or JSON, topic: model, and\n' +
    'default: model). Without --policy: always each model, and greedy.',
  positionals: [],
  options: {
    log: { type: 'string', value: 'DIR|FILE', help: 'the log of choices; required' },
    policy: { type: 'string', multiple: true, value: 'POLICY', help: 'what could have been done instead' },
    group: { type: 'string', value: 'NAME', help: 'only this group of models; default: each by itself' },
    tenant: { type: 'string', value: 'ID', help: 'only choices for this tenant' },
    source: { type: 'string', value: 'NAME', help: 'only what this source said, such as user or grader' },
    resamples: { type: 'string', value: 'N', help: 'of the bootstrap (default 1000)' },
    seed: { type: 'string', value: 'N', help: 'of its random numbers (default 1)' },
    json: { type: 'boolean', help: 'print figures as JSON instead of a table' },
  },
  async run(input, terminal) {
    const named = textOptions(input, 'policy').map(policyNamed)
    const resamples = wholeNumber(input, 'resamples', 1000)
    const seed = wholeNumber(input, 'seed', 1)
    const log = textOption(input, 'log')
    if (log === undefined) throw new UsageError('needs --log DIR or --log FILE')
    const lines = new ChoiceLines(textOption(input, 'source') ?? null)
    for (const file of filesOf(log)) {
      let number = 0
      for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) lines.add(line, `${file}:${++number}`)
    }
    const { counts, firstBad } = lines
    if (firstBad !== null) {
      terminal.complain(`homing evaluate: left out are lines without JSON (${counts.unread}) and of another form (${counts.unusable}); the first is ${firstBad}`)
    }
    const group = textOption(input, 'group')
    const tenant = textOption(input, 'tenant')
    const asked = lines.graded().filter((choice) => (group ?? choice.group) === choice.group && (tenant ?? choice.tenant) === choice.tenant)
    const graded = asked.filter(({ drawn }) => drawn)
    const kept = asked.length - graded.length
    if (graded.length === 0) {
      terminal.complain(`homing evaluate: ${log} holds no graded choice of that kind: ${summary(counts, kept)}`)
      return 1
    }
    const groups = [...new Set(graded.map((choice) => choice.group))].sort().map((name) => {
      const choices = graded.filter((choice) => choice.group === name)
      const models = [...new Set(choices.flatMap(({ considered }) => considered.map(({ model }) => model)))].sort()
      const policies = [done, ...(named.length > 0 ? named : [...models.map(always), greedy])]
      // the same resamples for every group, so that one group's figures do not depend on the others
      return { name, choices, models, policies: estimate(choices, policies, { resamples, random: seededRandom(seed), confidence: CONFIDENCE }) }
    })
    if (input.values['json'] === true) {
      const told = groups.map(({ name, choices, models, policies }) => ({ group: name, choices: choices.length, models, policies }))
      terminal.print(JSON.stringify({ ...counts, kept, groups: told }, null, 2))
    } else {
      terminal.print(summary(counts, kept))
      for (const { name, choices, models, policies } of groups) terminal.print(`\n${report(name, choices, models, policies)}`)
    }
    return 0
  },
}

/** Kept: the model of a conversation that went on. */
const summary = ({ choices, outcomes }: LineCounts, kept: number): string =>
  `${choices} choices logged, ${outcomes} outcomes` +
  (kept === 0 ? '' : `; ${kept} graded choices kept the model of their conversation, tell nothing of others and are left out`)

function filesOf(log: string): readonly string[] {
  let folder: boolean
  try {
    folder = statSync(log).isDirectory()
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause
    throw new UsageError(`there is no file or folder '${log}'`)
  }
  if (!folder) return [log]
  const numbers = numbersIn(log, LOG_PREFIX, LOG_SUFFIX)
  if (numbers.length === 0) throw new UsageError(`'${log}' holds no ${LOG_PREFIX}*${LOG_SUFFIX}; a gateway writes them into STORE/choices`)
  return numbers.map((number) => join(log, `${LOG_PREFIX}${String(number).padStart(8, '0')}${LOG_SUFFIX}`))
}

function policyNamed(text: string): TargetPolicy {
  const colon = text.indexOf(':')
  const kind = colon === -1 ? text : text.slice(0, colon)
  const value = colon === -1 ? '' : text.slice(colon + 1)
  if (kind === 'greedy' && value === '') return greedy
  if (kind === 'always' && value !== '') return always(value)
  if (kind === 'table' && value !== '') return tabled(text, topicTable(value))
  if (kind === 'seconds_per_quality_point') {
    const price = Number(value)
    if (value !== '' && price > 0 && Number.isFinite(price)) return priced(price)
    throw new UsageError(`'${text}': expected seconds above 0, such as seconds_per_quality_point:0.5`)
  }
  throw new UsageError(`what is the policy '${text}'? Known: always:MODEL, greedy, seconds_per_quality_point:S, table:FILE`)
}

function topicTable(file: string): Readonly<Record<string, string>> {
  let value: unknown
  try {
    value = parse(readFileSync(file, 'utf8'))
  } catch (cause) {
    throw new UsageError(`${file} cannot be read: ${cause instanceof Error ? cause.message.split('\n')[0] : String(cause)}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new UsageError(`${file}: expected a mapping of topics to models`)
  for (const [topic, model] of Object.entries(value)) {
    if (typeof model !== 'string' || model === '') throw new UsageError(`${file}: ${topic}: expected the name of a model`)
  }
  return value as Record<string, string>
}

function wholeNumber(input: CommandInput, name: string, otherwise: number): number {
  const text = textOption(input, name)
  const value = text === undefined ? otherwise : Number(text)
  if (!Number.isInteger(value) || value < 1) throw new UsageError(`--${name} must be a whole number, 1 or more, not '${text}'`)
  return value
}

function report(group: string, choices: readonly GradedChoice[], models: readonly string[], policies: readonly PolicyEstimates[]): string {
  const rows = policies.map((policy) => [
    policy.name + (policy.warnings.length > 0 ? ' !' : ''),
    interval(policy.doublyRobust),
    interval(policy.selfNormalised),
    interval(policy.ips),
    policy.effectiveSample.toFixed(0),
    policy.seconds.toFixed(2),
  ])
  const warnings = policies.flatMap(({ name, warnings: told }) => told.map((warning) => `! ${name}: ${warning}`))
  return [
    `group ${group}: ${choices.length} graded choices between ${models.join(', ')}; mean score with 95 % interval`,
    ...table([['policy', 'doubly robust', 'self-normalised', 'IPS', 'effective sample', 'seconds'], ...rows]),
    ...warnings,
  ].join('\n')
}

const interval = ({ value, low, high }: Estimate): string =>
  Number.isNaN(value) ? '-' : `${value.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`
