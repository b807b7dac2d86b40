/** A receipt for people: where a turn went, who else could have answered, what each would have cost, what came of it. */
import { chosenOf, secondsOf, switching, TERMS } from './costs.js'
import { believed, element, table } from './elements.js'
import { count, interval, milliseconds, percent, quality, range, seconds, secondsMore, tokens, weight } from './format.js'
import { CACHE_VERDICTS, DECIDED_BY, FILTERS, OUTCOMES, REASONS } from './words.js'

export function receiptView(receipt) {
  return element('div', { class: 'receipt' },
    element('p', {}, element('strong', {}, receipt.model), ' at ', element('strong', {}, receipt.backend_id), `, because ${REASONS[receipt.reason] ?? receipt.reason}.`),
    ...askedTable(receipt),
    ...switchingSentence(receipt),
    ...modelTable(receipt),
    ...candidateTable(receipt),
    figures(receipt),
    ...remarks(receipt))
}

/** Where several models were asked, who else answered and what decided. */
function askedTable({ asking, member_of: whole }) {
  const part = whole === undefined ? [] : [element('p', { class: 'note' }, 'It was asked for as a part of ', element('code', {}, whole), '.')]
  if (asking === undefined) return part
  const columns = [{ title: 'Asked', long: true }, { title: 'Ended' }, { title: 'Ballot', number: true }, { title: 'Confidence', number: true }, { title: 'Tokens', number: true }]
  const rows = asking.members.map((member) => {
    const chosen = member.id !== null && member.id === asking.chosen
    return {
      class: chosen ? 'chosen' : null,
      cells: [
        named(member.model, [member.role, chosen ? 'given' : ''].filter((mark) => mark !== '').join(', ')),
        member.error === undefined ? (OUTCOMES[member.status] ?? member.status) : `${OUTCOMES[member.status] ?? member.status}: ${member.error}`,
        count(member.vote), percent(member.confidence), member.usage === null ? '–' : tokens(member.usage.prompt_tokens + member.usage.output_tokens),
      ],
    }
  })
  const steps = (asking.escalations ?? []).map(({ from, to, why }) => element('p', {}, `Went on from ${from} to ${to}: ${why.replaceAll('_', ' ')}.`))
  const agreed = asking.agreement === undefined ? '' : ` ${percent(asking.agreement)} of the ballots agree.`
  return [
    ...part, ...steps, table(`Several were asked: ${asking.merge.replaceAll('_', ' ')}`, columns, rows),
    element('p', { class: 'note' }, `Given, since ${DECIDED_BY[asking.decided_by] ?? asking.decided_by}.${agreed} Members with the same ballot gave the same answer. What follows is of the answer that was given.`),
  ]
}

function switchingSentence(receipt) {
  const found = switching(receipt)
  if (found === null) return []
  const { stayed, other, more, total } = found
  const name = other.model === undefined ? other.backend_id : `${other.model} at ${other.backend_id}`
  const terms = TERMS.filter((term) => Math.abs(more[term]) >= 0.0005).map((term) => `${NAMES[term].toLowerCase()} ${secondsMore(more[term])}`)
  return [element('p', {}, `${stayed ? 'Switching to' : 'Staying with'} ${name} would have cost ${secondsMore(total)}.${terms.length === 0 ? '' : ` The terms: ${terms.join(', ')}.`}`)]
}

function modelTable({ group, model: chosen }) {
  if (group === undefined) return []
  const columns = [{ title: 'Model', long: true }, { title: 'Expected quality' }, { title: 'Outcomes behind it', number: true }, { title: 'Drawn', number: true }, { title: 'Cost without quality', number: true }]
  const rows = group.considered.map((each) => {
    const [low, high] = interval(each.mean, each.deviation)
    const marks = [each.model === chosen ? 'answered' : '', each.model === group.incumbent ? 'served before' : ''].filter((mark) => mark !== '')
    return {
      class: each.model === chosen ? 'chosen' : null,
      cells: [
        named(each.model, marks.join(', ')),
        believed(low, each.mean, high, `${quality(each.mean)}, 90 %: ${range(low, high)}`),
        weight(each.observations), quality(each.drawn),
        each.seconds === null ? 'served by nobody now' : seconds(each.seconds),
      ],
    }
  })
  return [table(`Models of the group ${group.name}, as judged for this turn`, columns, rows)]
}

const NAMES = { wait: 'Wait', prefill: 'Prefill', decode: 'Decode', regret: 'Eviction regret', quality: 'Quality' }

function candidateTable(receipt) {
  const { candidates } = receipt
  if (candidates.length === 0) return []
  const chosen = chosenOf(receipt)
  const terms = TERMS.filter((term) => term !== 'quality' || receipt.group !== undefined)
  const columns = [
    { title: 'Backend', long: true }, { title: 'Expected cached', number: true }, ...terms.map((term) => ({ title: NAMES[term], number: true })),
    { title: 'Cost', number: true }, { title: 'Against the choice', number: true },
  ]
  const rows = candidates.map((each) => ({
    class: each === chosen ? 'chosen' : null,
    cells: [
      named(each.backend_id, [each.model ?? '', each === chosen ? 'answered' : ''].filter((mark) => mark !== '').join(', ')),
      tokens(each.expected_cached_tokens), ...terms.map((term) => seconds(secondsOf(each, term))), seconds(each.cost_seconds),
      each === chosen ? '–' : chosen === null ? '–' : secondsMore(each.cost_seconds - chosen.cost_seconds),
    ],
  }))
  return [
    table('Backends that could have answered, the cheapest first', columns, rows),
    element('p', { class: 'note' }, `Cost is wait, a tenth of decode, one and a half times (in a planned line more) prefill and eviction regret${receipt.group === undefined ? '' : ', and quality'}.`),
  ]
}

const named = (name, note) => element('span', {}, name, note === '' ? null : element('small', {}, note))

function figures(receipt) {
  const { prompt_tokens: prompt, cached_tokens: cached, fingerprint } = receipt
  const told = ({ actual, expected }) => (actual === null ? `not told, expected ${count(expected)}` : `${tokens(actual)}, expected ${count(expected)}`)
  const lines = [
    ['Outcome', OUTCOMES[receipt.outcome] ?? receipt.outcome],
    ['Prompt', told(prompt)],
    ['Of it cached', `${told(cached)}; ${CACHE_VERDICTS[receipt.cache.why] ?? receipt.cache.why}`],
    ['Answer', tokens(receipt.output_tokens)],
    ['Time to first token', milliseconds(receipt.ttft_ms)],
    ['Until the end', milliseconds(receipt.total_ms)],
    ['Waited at the gateway', milliseconds(receipt.queued_ms)],
    ['Decided in', `${count(receipt.decide_microseconds)} µs`],
    ...(fingerprint === undefined ? [] : [['Taken to be about', aboutOf(fingerprint)]]),
  ]
  return element('dl', {}, ...lines.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)]))
}

/** Less is told of no second topic. */
const LEAST_TOLD = 0.05

function aboutOf({ topics, intent, complexity }) {
  const labelled = ([label, probability]) => `${label} ${percent(probability)}`
  const about = topics.filter(([, probability], at) => at === 0 || probability >= LEAST_TOLD).slice(0, 2).map(labelled).join(', ') || 'no topic'
  return `${about}; intent ${labelled(intent)}; complexity ${complexity.toFixed(2)} of 1`
}

function remarks(receipt) {
  const lines = [
    ...receipt.failovers.map(({ backend_id: id, why }) => `${id} was tried before and failed: ${why}`),
    ...receipt.filtered_out.map(({ backend_id: id, by }) => `${id} was not considered: ${FILTERS[by] ?? by}.`),
    ...(receipt.omitted.length === 0 ? [] : [`Left out of what the engine sees: ${receipt.omitted.join(', ')}`]),
    ...(receipt.trouble === null ? [] : [receipt.trouble]),
    ...learnedLines(receipt.learned),
  ]
  return lines.length === 0 ? [] : [element('ul', {}, ...lines.map((line) => element('li', {}, line)))]
}

/** What was said of the answer, and what its signs were taken to mean; signs are concluded when the conversation has gone on or ended. */
function learnedLines(learned) {
  const said = (learned?.outcomes ?? []).map(({ score, source }) => `Graded ${score.toFixed(2)} by ${source}.`)
  const signs = learned?.signs ?? null
  if (signs === null) return said
  const found = signs.found.length === 0 ? 'none' : signs.found.map((sign) => sign.replaceAll('_', ' ')).join(', ')
  const taught = signs.lesson === null ? 'nothing was learned from them' : `learned as ${signs.lesson.score.toFixed(2)} with weight ${signs.lesson.weight.toFixed(2)}`
  return [...said, `Signs in what came after: ${found}; good with a probability of ${percent(signs.probability)}, ${taught}.`]
}

/** What the conversation was taken to be about, the likeliest first. */
export const topicsOf = ({ fingerprint }) => (fingerprint?.topics ?? []).map(([label]) => label)
