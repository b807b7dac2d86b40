/**
 * `npm run bench:learned`: how soon complexity, output tokens and remaining turns are learned from outcomes, beside their priors and
 * everyone's mean. Error over the outcomes after the 50th, the 200th and the 800th. Priors that the shipped
 * model learned from the same data are trained here without it. `--record FILE` writes the table. Needs ../shared/data.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { seededRandom } from '../sim/random.ts'
import type { Speaker } from '../src/fingerprint/conversation-context.ts'
import { loadFingerprintModel } from '../src/fingerprint/fingerprint-model.ts'
import { Fingerprinter } from '../src/fingerprint/fingerprinter.ts'
import { trainLinear, type LinearModel } from '../src/fingerprint/linear-model.ts'
import { LearnedQuantity, type Reading } from '../src/learn/learned-quantity.ts'
import { QUANTITIES } from '../src/learn/quantities.ts'
import { projectRoot } from '../test/house/root.ts'
import { rowsOf, sgdDialogues, type AgentRun } from '../training/labelled.ts'
import { COMPLEXITY_SHRINK, complexityExamples, OUTPUT_SHRINK, outputExamples, remainingExamples, type Grouped } from '../training/quantities.ts'

const root = projectRoot()
const data = join(root, '..', 'shared', 'data')
if (!existsSync(join(data, 'sgd-dev-half.jsonl'))) {
  console.error(`bench:learned needs ${data}, which is not here`)
  process.exit(1)
}
const model = loadFingerprintModel(join(root, 'assets/fingerprint/model.homing'))
const fingerprinter = new Fingerprinter(model)
type Outcome = Reading & { readonly y: number }

const rows: string[] = []
const AFTER = [0, 50, 200, 800]
const WINDOW = 200

function shuffled<T>(values: readonly T[]): T[] {
  const random = seededRandom(7)
  return values.map((value) => [random(), value] as const).sort(([left], [right]) => left - right).map(([, value]) => value)
}

function learned(what: string, on: string, kind: keyof typeof QUANTITIES, outcomes: readonly Outcome[]): void {
  const quantity = new LearnedQuantity(QUANTITIES[kind])
  const errors: { prior: number; learned: number; told: number; mean: number }[] = []
  let mean = 0
  let below = 0
  outcomes.forEach((outcome, at) => {
    const told = quantity.expect(outcome)
    const probe = quantity.learned(outcome)
    const off = (value: number): number => (QUANTITIES[kind].squared ? (outcome.y - value) ** 2 : Math.abs(outcome.y - value))
    errors.push({ prior: off(outcome.prior), learned: off(probe), told: off(told.value), mean: off(at === 0 ? outcome.prior : mean) })
    if (at >= 200 && outcome.y <= told.value + quantity.spread) below++
    mean += (outcome.y - mean) / (at + 1)
    quantity.observe(outcome, outcome.y)
  })
  const cells = AFTER.map((after) => {
    const part = errors.slice(after, after + (after === 800 ? errors.length : WINDOW))
    if (part.length < WINDOW / 2) return '-'
    const of = (name: 'prior' | 'learned' | 'told' | 'mean'): string => (part.reduce((sum, error) => sum + error[name], 0) / part.length).toFixed(3)
    return `${of('told')} (${of('learned')}, ${of('prior')}, ${of('mean')})`
  })
  const p90 = outcomes.length > 400 ? (below / (outcomes.length - 200)).toFixed(2) : '-'
  rows.push(`| ${what} | ${on}, ${outcomes.length} | ${cells.join(' | ')} | ${p90} |`)
  console.error(rows.at(-1))
}

const about = (text: string, speaker: Speaker = 'user') => {
  const found = fingerprinter.update(fingerprinter.begin(), speaker, text)
  return { tenant: 'a', topic: found.topics[0]![0], also: [`intent ${found.intent[0]}`], embedding: found.embedding, complexity: found.complexity }
}

function complexity(): void {
  const asked = rowsOf<{ task: string; question: string; scores: Record<string, number> }>(join(data, 'llmrouter-outcomes-train-half.jsonl'))
  const router = asked.map(({ question, scores }) => {
    const { complexity: prior, ...reading } = about(question)
    return { ...reading, prior, y: 1 - scores['mistral-7b-instruct-v0.3']! }
  })
  learned('complexity', 'LLMRouter questions, a 7B model', 'complexity', shuffled(router))
  const { exams } = complexityExamples(data, model.reader)
  const prompts = rowsOf<{ prompt: string }>(join(data, 'routellm-mmlu-19subjects.jsonl'))
  const subjects = [...new Set(exams.map(({ group }) => group))]
  const seen = new Set(subjects.filter((_, at) => at % 2 === 0))
  const prior = trainLinear(exams.filter(({ group }) => seen.has(group)), 'logistic', COMPLEXITY_SHRINK)
  const others = exams.flatMap((exam, at) => {
    if (seen.has(exam.group)) return []
    const { complexity: _shipped, ...reading } = about(prompts[at]!.prompt)
    return [{ ...reading, prior: prior.predict(exam.features), y: exam.wanted }]
  })
  learned('complexity', 'MMLU, subjects that the prior has not seen', 'complexity', shuffled(others))
}

/** One after the other, as conversations come; the reading is of the conversation so far. */
function readings(turns: readonly { readonly speaker: Speaker; readonly text: string }[], wanted: (at: number) => boolean): Omit<Reading, 'prior'>[] {
  const state = fingerprinter.begin()
  return turns.flatMap(({ speaker, text }, at) => {
    const found = fingerprinter.update(state, speaker, text)
    return wanted(at) ? [{ tenant: 'a', topic: found.topics[0]![0], also: [`intent ${found.intent[0]}`], embedding: found.embedding }] : []
  })
}

const speakerOf = (role: string): Speaker => (role === 'assistant' || role === 'tool' || role === 'user' ? role : 'system')
const runs = rowsOf<AgentRun>(join(data, 'tau-bench-airline-tasks0-24.jsonl')).map((run) => ({
  task: run.task_id,
  turns: run.messages.map(({ role, content, tool_calls }) => ({
    speaker: speakerOf(role),
    text: [content ?? '', ...(tool_calls ?? []).map((call) => `${call.function.name} ${call.function.arguments}`)].join('\n').trim(),
  })),
}))
const answered = (turns: readonly { readonly speaker: Speaker }[]) => (at: number): boolean =>
  turns[at]!.speaker !== 'assistant' && turns[at + 1]?.speaker === 'assistant'

function outputTokens(): void {
  const { agents, others } = outputExamples(data, model.reader)
  const early = (group: string): boolean => Number(group.slice(5)) < 12
  const train = (from: readonly Grouped[]): LinearModel => trainLinear(from, 'identity', OUTPUT_SHRINK)
  const prior = train(agents.filter(({ group }) => early(group)))
  const readingsOfRuns = runs.flatMap(({ turns }) => readings(turns, answered(turns)))
  if (readingsOfRuns.length !== agents.length) throw new Error('readings and examples differ')
  const later = agents.flatMap((example, at) =>
    early(example.group) ? [] : [{ ...readingsOfRuns[at]!, prior: Math.max(0, prior.predict(example.features)), y: example.wanted }],
  )
  learned('output tokens', 'tau-bench, tasks that the prior has not seen', 'outputTokens', later)
  const first = train([...agents.filter(({ later: continued }) => !continued), ...others.filter(({ group }) => group === 'written')])
  const dialogues = sgdDialogues(data).filter((_, at) => at % 4 === 0)
  const service = others.filter(({ group }) => group !== 'written')
  const read = dialogues.flatMap((turns) => readings(turns, answered(turns)))
  if (read.length !== service.length) throw new Error('readings and examples differ')
  learned('output tokens', 'SGD replies, prior of agents and assumptions', 'outputTokens', service.map((example, at) => ({ ...read[at]!, prior: Math.max(0, first.predict(example.features)), y: example.wanted })))
}

function remaining(): void {
  const examples = remainingExamples(data, model.reader)
  const half = (group: string): boolean => Number(group) % 2 === 0
  const prior = trainLinear(examples.filter(({ group }) => half(group)), 'identity', OUTPUT_SHRINK)
  const read = sgdDialogues(data).flatMap((turns) => readings(turns, (at) => turns[at]!.speaker === 'user'))
  const own = examples.flatMap((example, at) =>
    half(example.group) ? [] : [{ ...read[at]!, prior: Math.log1p(Math.max(0, prior.predict(example.features))), y: Math.log1p(example.wanted) }],
  )
  learned('remaining turns', 'SGD, dialogues that the prior has not seen', 'remainingTurns', own)
  const agents = runs.flatMap(({ turns }) => {
    const state = fingerprinter.begin()
    const users = turns.filter(({ speaker }) => speaker === 'user').length
    let gone = 0
    return turns.flatMap(({ speaker, text }) => {
      const found = fingerprinter.update(state, speaker, text)
      if (speaker !== 'user') return []
      gone++
      return [{ tenant: 'a', topic: found.topics[0]![0], also: [`intent ${found.intent[0]}`], embedding: found.embedding, prior: Math.log1p(found.expectedRemainingTurns), y: Math.log1p(users - gone) }]
    })
  })
  learned('remaining turns', 'tau-bench, the shipped prior of service dialogues', 'remainingTurns', agents)
}

complexity()
outputTokens()
remaining()
const table = [
  '| what | on, outcomes | the first 200 | after 50 | after 200 | after 800 | below p90 |',
  '|---|---|---|---|---|---|---|',
  ...rows,
].join('\n')
console.log(table)
const flag = process.argv.indexOf('--record')
if (flag > 0) {
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> }
  writeFileSync(
    process.argv[flag + 1]!,
    `# What is learned from outcomes\n\n\`npm run bench:learned\` (\`${scripts['bench:learned']}\`), ${new Date().toISOString().slice(0, 10)}, Node ${process.versions.node}.\n\nMean absolute error of what is told, in logarithms of lengths and turns, and mean squared error of probabilities (in brackets: what is\nlearned, the prior, everyone's mean); over the next 200 outcomes, after 800 over all that follow.\n\n${table}\n`,
  )
}
