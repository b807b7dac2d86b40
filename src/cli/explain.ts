import { isObject } from '../model/json.ts'
import type { JsonObject, JsonValue } from '../model/json.ts'
import { askGateway, GATEWAY_OPTIONS } from './ask-gateway.ts'
import type { Command } from './command.ts'

export const explain: Command = {
  name: 'explain',
  summary: 'say why an answer went where it went',
  description:
    'Asks a running gateway for the receipt of a response (or chat completion) and prints it: where it went, why,\n' +
    'what every candidate would have cost, and what came of it.',
  positionals: ['RESPONSE_ID'],
  options: GATEWAY_OPTIONS,
  async run(input, terminal) {
    const id = input.positionals[0] ?? ''
    const answer = await askGateway(`/homing/v1/responses/${encodeURIComponent(id)}/decision`, input, terminal)
    if (typeof answer === 'string') {
      terminal.complain(`homing explain: ${answer}`)
      return 1
    }
    terminal.print(explanation(answer))
    return 0
  },
}

const REASONS: Readonly<Record<string, string>> = {
  'only-candidate': 'no other backend could take it',
  home: 'it holds most of this conversation, and that made it the cheapest',
  'shared-prefix': "another conversation's common beginning is warm there",
  load: 'the backend that holds this conversation was busier than moving costs',
  'least-cost': 'nothing of it is warm anywhere; this one costs the fewest seconds',
  quality: 'its model is expected to answer better than others that would be sooner',
  policy: 'the configured policy chose it',
}

/** A receipt (model/receipt.ts, in the API's own case) as text. Read defensively: the gateway may be of another version. */
export function explanation(receipt: JsonObject): string {
  const reason = text(receipt['reason'])
  const session = object(receipt['session'])
  const chosen = text(receipt['backend_id'])
  const policy = typeof receipt['policy'] === 'string' ? ` (${receipt['policy']})` : ''
  const decided = `${number(receipt['decide_microseconds'], 0)} us`
  const lines = [
    `${text(receipt['id'])}  ${text(receipt['outcome'])}${receipt['trouble'] ? `: ${text(receipt['trouble'])}` : ''}`,
    `  went to    ${chosen}, model ${text(receipt['served_model'])}, by ${text(receipt['protocol'])}`,
    `  because    ${reason}: ${REASONS[reason] ?? 'see the costs below'}${policy}`,
    `  session    ${text(session['id'])}, known by ${text(session['source'])}`,
    `  prompt     ${expectedActual(receipt['prompt_tokens'])} tokens, cached ${expectedActual(receipt['cached_tokens'])}`,
    ...groupLines(object(receipt['group']), text(receipt['model'])),
    ...preparedLine(object(receipt['prepared'])),
    ...cacheLines(object(receipt['cache'])),
    ...forecastLine(object(receipt['forecast'])),
    ...learnedLines(object(receipt['learned'])),
    ...askingLines(object(receipt['asking'])),
    `  answer     ${tokens(receipt['output_tokens'])} tokens, first after ${milliseconds(receipt['ttft_ms'])}, ` +
      `all after ${milliseconds(receipt['total_ms'])}`,
    `  decided    in ${decided}, after waiting ${milliseconds(receipt['queued_ms'])}`,
  ]
  if (typeof receipt['ceiling_at'] === 'string') {
    lines.push(`  waited     because ${text(receipt['ceiling_at'])} was at its ceiling of tokens in flight`)
  }
  for (const failover of objects(receipt['failovers'])) {
    lines.push(`  failed at  ${text(failover['backend_id'])}: ${text(failover['why'])}`)
  }
  const omitted = receipt['omitted']
  if (Array.isArray(omitted) && omitted.length > 0) lines.push(`  left out   ${omitted.map(text).join(', ')}`)
  lines.push('', ...candidateTable(objects(receipt['candidates']), chosen))
  for (const filtered of objects(receipt['filtered_out'])) {
    lines.push(`  ${text(filtered['backend_id'])}: not considered, ${text(filtered['by'])}`)
  }
  return lines.join('\n').trimEnd()
}

/** Which models could have answered, and what was expected of each: 95 of 100 times the mean is within the interval. */
function groupLines(group: JsonObject, chosen: string): readonly string[] {
  if (typeof group['name'] !== 'string') return []
  const incumbent = group['incumbent']
  const before =
    typeof incumbent !== 'string' ? '' : incumbent === chosen ? ', which served the conversation before' : `; ${text(incumbent)} served the conversation before`
  const models = objects(group['considered']).map((model) => {
    const [mean, deviation] = [model['mean'], model['deviation']]
    const expected =
      typeof mean !== 'number' || typeof deviation !== 'number'
        ? 'unknown'
        : `${share(mean)} (${share(mean - 1.96 * deviation)} to ${share(mean + 1.96 * deviation)})`
    const seconds = typeof model['seconds'] === 'number' ? `${model['seconds'].toFixed(3)} s` : 'served by nobody now'
    return `             ${text(model['model'])}: quality ${expected} from ${number(model['observations'], 0)} outcomes, taken as ${number(model['drawn'], 3)}; ${seconds}`
  })
  return [`  model      ${chosen} of group ${text(group['name'])}${before}`, ...models]
}

/** What is believed is linear and may lie a little outside of what a score can be. */
const share = (quality: number): string => Math.min(1, Math.max(0, quality)).toFixed(3)

/** What was said of the answer, and what its signs were taken to mean. */
function learnedLines(learned: JsonObject): readonly string[] {
  const said = objects(learned['outcomes']).map((grade) => `  graded     ${number(grade['score'], 2)} by ${text(grade['source'])}`)
  const signs = object(learned['signs'])
  if (typeof signs['probability'] !== 'number') return said
  const found = Array.isArray(signs['found']) ? signs['found'].map(text).join(', ') : ''
  const lesson = object(signs['lesson'])
  const taught = typeof lesson['weight'] === 'number' ? `; taught ${number(lesson['score'], 2)} with weight ${number(lesson['weight'], 2)}` : '; taught nothing'
  return [...said, `  signs      ${found === '' ? 'none' : found}: good with a probability of ${(100 * signs['probability']).toFixed(0)} %${taught}`]
}

function preparedLine(prepared: JsonObject): readonly string[] {
  if (typeof prepared['tokens'] !== 'number') return []
  const pieces = `${tokens(prepared['tokens'])} tokens in ${number(prepared['pieces'], 0)} pieces`
  return [`  prepared   ${pieces} in ${milliseconds(prepared['ms'])}, with room for shorter turns between them`]
}

const DECIDED_BY: Readonly<Record<string, string>> = {
  only_answer: 'no other answer was there',
  majority: 'more than half of the ballots agree',
  plurality: 'it has the most ballots',
  quality: 'most is expected of its model',
  confidence: 'its tokens were the most probable',
  order: 'nothing told the answers apart, and it stands first',
  verdict: 'the judge chose it',
  synthesis: 'it was written from all answers',
  confident: 'there was no reason to ask the next model',
  escalated: 'the answer of the model before was doubtful',
  not_worth_it: 'asking the next model has not paid lately',
}

/** Who else was asked, where several were. */
function askingLines(asking: JsonObject): readonly string[] {
  if (typeof asking['merge'] !== 'string') return []
  const by = text(asking['decided_by'])
  const members = objects(asking['members']).map((member) => {
    const vote = typeof member['vote'] === 'number' ? `, answer ${number(member['vote'], 0)}` : ''
    const sure = typeof member['confidence'] === 'number' ? `, confidence ${number(member['confidence'], 2)}` : ''
    const error = typeof member['error'] === 'string' ? `: ${text(member['error'])}` : ''
    const chosen = member['id'] === asking['chosen'] ? ' *' : ''
    return `             ${text(member['role'])} ${text(member['model'])}  ${text(member['status'])}${error}${vote}${sure}  ${text(member['id'])}${chosen}`
  })
  const steps = objects(asking['escalations']).map((step) => `             ${text(step['from'])} -> ${text(step['to'])}: ${text(step['why'])}`)
  return [`  asked      several, ${text(asking['merge'])}; ${by}: ${DECIDED_BY[by] ?? 'see the members'}`, ...steps, ...members]
}

const CACHE_VERDICTS: Readonly<Record<string, string>> = {
  hit: 'as much was cached as could be',
  new: 'nothing of it was computed before, as far as is known',
  model_changed: 'the turn before asked for another model',
  tools_changed: 'the tools are not those of the turn before',
  instructions_changed: 'the instructions are not those of the turn before',
  reasoning_dropped: 'reasoning of an earlier answer is left out now',
  history_changed: 'the prompt does not begin as the turn before ended',
  moved: 'the backend that holds it was dearer than computing it again',
  home_unavailable: 'the backend that holds it takes no turns, or failed',
  evicted: 'the backend had let it go for want of room',
  restarted: 'the backend lost its cache since',
  rendered_differently: 'the engine found another text than the gateway, or keeps no answers',
  not_told: 'the engine does not say, and its time to the first token does not tell',
}

/** How the conversation's cache stands now, not when it was answered. */
function forecastLine(forecast: JsonObject): readonly string[] {
  if (typeof forecast['resident_now'] !== 'number') return []
  const percent = (value: JsonValue | undefined): string =>
    typeof value === 'number' ? `${(100 * value).toFixed(0)} %` : 'an unknown share'
  const within = forecast['expected_return_ms']
  const back = typeof within === 'number' ? `, about ${percent(forecast['resident_at_return'])} when it returns (half of those that do: within ${milliseconds(within)})` : ''
  return [`  by now     still cached at ${text(forecast['backend_id'])} with a probability of ${percent(forecast['resident_now'])}${back}`]
}

/** What became of the cached prefix; gateways of before had no such word. */
function cacheLines(cache: JsonObject): readonly string[] {
  const why = text(cache['why'])
  const said = CACHE_VERDICTS[why]
  if (said === undefined) return []
  const missed = cache['missed_tokens']
  const lost =
    typeof missed === 'number' && missed > 0
      ? `; ${number(missed, 0)} of ${tokens(cache['reusable_tokens'])} reusable tokens computed again`
      : ''
  return [`  cache      ${why}: ${said}${lost}${cache['inferred'] === true ? ' (told by the time to the first token)' : ''}`]
}

/** Of a turn that named its model no quality is told, and the column is left out. */
const TERMS = ['wait', 'prefill', 'decode', 'regret', 'quality', 'cost'] as const

/** In the order in which they would be tried; seconds. */
function candidateTable(candidates: readonly JsonObject[], chosen: string): readonly string[] {
  if (candidates.length === 0) return []
  const terms = TERMS.filter((term) => term !== 'quality' || candidates.some((candidate) => candidate['quality_seconds'] !== undefined))
  const rows = [
    ['candidate', 'cached tokens', ...terms.map((term) => (term === 'cost' ? 'cost (s)' : term === 'quality' ? 'quality lost' : term))],
    ...candidates.map((candidate) => [
      `${text(candidate['backend_id'])}${candidate['backend_id'] === chosen ? ' *' : ''}`,
      number(candidate['expected_cached_tokens'], 0),
      ...terms.map((term) => number(candidate[`${term}_seconds`] ?? 0, 3)),
    ]),
  ]
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  const line = (row: readonly string[]): string => row.map((cell, n) => pad(cell, widths[n] ?? 0, n)).join('  ')
  return rows.map((row) => `  ${line(row)}`.trimEnd())
}

function pad(cell: string, width: number, column: number): string {
  return column === 0 ? cell.padEnd(width) : cell.padStart(width)
}

function expectedActual(value: JsonValue | undefined): string {
  const pair = object(value)
  return `${tokens(pair['actual'])} (expected ${tokens(pair['expected'])})`
}

function tokens(value: JsonValue | undefined): string {
  return typeof value === 'number' ? number(value, 0) : 'not told'
}

function milliseconds(value: JsonValue | undefined): string {
  return typeof value === 'number' ? `${number(value, value < 10 ? 1 : 0)} ms` : 'an unknown time'
}

function number(value: JsonValue | undefined, decimals: number): string {
  return typeof value === 'number' ? value.toFixed(decimals) : '-'
}

/** Control characters never reach the terminal. */
function text(value: JsonValue | undefined): string {
  // eslint-disable-next-line no-control-regex
  return typeof value === 'string' ? value.replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ') : '-'
}

function object(value: JsonValue | undefined): JsonObject {
  return isObject(value) ? value : {}
}

function objects(value: JsonValue | undefined): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : []
}
