// What the run found, as a record in Markdown: shares of right answers, what was chosen, how long it took.
import { KIND_NAMES } from './specialist-tasks.mjs'
import { MODELS } from './specialists.mjs'

const WINDOW = 100
const NAMES = MODELS.map(({ name }) => name)

export const mean = values => values.reduce((sum, value) => sum + value, 0) / values.length
export const percent = share => `${(100 * share).toFixed(0)} %`
export const byKind = rows => KIND_NAMES.map(kind => rows.filter(row => row.kind === kind))
const rightOf = rows => mean(rows.map(({ right }) => right))
const table = (head, rows) => [head, head.map(() => '---'), ...rows].map(cells => `| ${cells.join(' | ')} |`).join('\n')

const counts = rows => NAMES.map(name => [name, rows.filter(({ model }) => model === name).length]).filter(([, count]) => count > 0)
  .map(([name, count]) => `${count} ${name}`).join(', ') || 'none'

/** After how many outcomes the best model of a kind was first chosen for eight of the kind's last ten. */
function outcomesUntil(rows, kind, best) {
  const chosen = rows.map((row, at) => ({ ...row, at })).filter(row => row.kind === kind)
  const end = chosen.findIndex((_, at) => at >= 9 && chosen.slice(at - 9, at + 1).filter(({ model }) => model === best).length >= 8)
  return end < 0 ? 'never' : `${chosen[end].at + 1} outcomes`
}

export function recordOf({ command, shares, learned, held, lost, explained, believed, evaluated, outcomes, heldOut }) {
  const bests = KIND_NAMES.map((_, kind) => NAMES.reduce((best, name) => (shares[name][kind] > shares[best][kind] ? name : best)))
  const single = NAMES.reduce((best, name) => (mean(shares[name]) > mean(shares[best]) ? name : best))
  const perfect = mean(bests.map((name, kind) => shares[name][kind]))
  const random = mean(NAMES.map(name => mean(shares[name])))
  const auto = byKind(held).map(rightOf)
  const gained = (mean(auto) - mean(shares[single])) / (perfect - mean(shares[single]))
  const row = (name, values) => [name, ...values.map(percent), percent(mean(values))]
  const windows = Array.from({ length: Math.ceil(learned.length / WINDOW) }, (_, at) => learned.slice(at * WINDOW, (at + 1) * WINDOW))
  return [
    `# Learned routing on a real fleet, ${new Date().toISOString().slice(0, 10)}`, '',
    `Command: \`${command}\`. SmolLM2-135M four times, on llama.cpp with one thread each: as it is, and behind a`,
    'grammar with a few examples in its template, one for equations, one for labels, one for JSON (`scripts/prove/specialists.mjs`).',
    'The gateway is `homing serve` with the four URLs and `model_groups: { auto: [...] }`; every answer of `auto` is graded by the',
    'script and the grade posted to `/homing/v1/outcomes`. Chat and Responses in turn, one request at a time.', '',
    'An answer in the wrong form counts as wrong, however much it knows: `{"capital": "Paris"}` is no sentence, and a sentence is no JSON. So',
    'these models differ more than models of a usual fleet do, and a client that states a schema with its request would need no',
    'endpoint of this kind: it stands for models that differ, of which there is only one here.', '',
    `## Right answers on ${heldOut} held-out tasks of each kind`, '',
    table(['model', ...KIND_NAMES, 'all'], [
      ...NAMES.map(name => row(name, shares[name])),
      ['random', ...KIND_NAMES.map((_, kind) => percent(mean(NAMES.map(name => shares[name][kind])))), percent(random)],
      row(`best single (${single})`, shares[single]),
      row('perfect routing', bests.map((name, kind) => shares[name][kind])),
      row(`**auto** after ${learned.length} outcomes, nothing posted`, auto),
    ]), '',
    `Of what perfect routing gains over the best single model, \`auto\` gains ${percent(gained)}. Each choice is drawn, in the`,
    `last line too, and ${KIND_NAMES.length * heldOut} tasks tell a share to about ${Math.round(100 * Math.sqrt(0.25 / (KIND_NAMES.length * heldOut)))} points (one standard deviation).`, '',
    '## While it learns', '',
    `Right answers in windows of ${WINDOW} requests, exploration included, and the model that was chosen.`, '',
    table(['outcomes', 'right', ...KIND_NAMES.map(kind => `${kind}: chosen`)], windows.map((rows, at) => [
      `${at * WINDOW} to ${at * WINDOW + rows.length}`, percent(rightOf(rows)), ...byKind(rows).map(counts),
    ])), '',
    table(['kind', 'best model', 'first chosen for 8 of its last 10 after'], KIND_NAMES.map((kind, at) => [kind, bests[at], outcomesUntil(learned, kind, bests[at])])), '',
    `\`homing_outcomes_total\`: ${outcomes}.`, '',
    '## A specialist is killed in mid-run', '',
    table([`${lost.kind}`, 'asked', 'answered by', 'right'], [
      ['before', lost.before], [`in flight when ${lost.model} was killed`, lost.hit], ['while it was gone', lost.without], ['after it was started again', lost.after],
    ].map(([when, rows]) => [when, rows.length, counts(rows), percent(rightOf(rows))])), '',
    `Every request was answered. Of those in flight, ${lost.broken.length} broke off at the killed engine and went on elsewhere (${[...new Set(lost.broken)].join(', ') || 'none was caught there'}).`,
    'While it is gone nobody can answer in its form, and the others are drawn by what little is left of their uncertainty. What the last',
    'receipt without it says of the group (`seconds` null: nobody serves it now):', '',
    '```json', JSON.stringify(lost.receipt.group), '```', '',
    '## What an operator sees', '', '`homing explain` of a held-out task:', '', '```', explained, '```', '',
    '`homing expertise`, the rows of all topics together:', '', '```', believed, '```', '',
    `\`homing evaluate\` on the log of the run's ${learned.length} graded choices. What \`always\` would have scored is known here from the first table:`,
    `${NAMES.map(name => `${name} ${mean(shares[name]).toFixed(2)}`).join(', ')}, with kinds as frequent as one another.`, '', '```', evaluated, '```', '',
  ].join('\n')
}
