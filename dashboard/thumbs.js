/** Thumbs for an answer: a grade of the source `user`, what the gateway said to it, and what it learned. The last press counts. */
import { element, table } from './elements.js'
import { quality, qualityMore, range, weight } from './format.js'
import { Refusal, sentence } from './gateway.js'
import { changesBetween } from './learned.js'
import { topicsOf } from './receipt.js'
import { VERDICTS } from './words.js'

export function thumbs(receipt, gateway) {
  const told = element('p', { class: 'note', role: 'status' })
  const learned = element('div')
  const up = button('Good answer', 1)
  const down = button('Bad answer', 0)
  const buttons = [up, down]

  function button(label, score) {
    return element('button', { type: 'button', 'aria-pressed': 'false', onclick: () => void grade(score) }, label)
  }

  async function grade(score) {
    for (const each of buttons) each.disabled = true
    try {
      const before = await expertiseOf(receipt.model, gateway)
      const verdict = await gateway.json('v1/outcomes', { method: 'POST', body: { response_id: receipt.id, score, source: 'user' } })
      up.setAttribute('aria-pressed', String(score === 1))
      down.setAttribute('aria-pressed', String(score === 0))
      told.textContent = `${verdict.result}: ${VERDICTS[verdict.result] ?? ''} for ${verdict.model}`
      const after = before.rows === null ? before : await expertiseOf(receipt.model, gateway)
      learned.replaceChildren(after.rows === null ? element('p', { class: 'note' }, after.why) : changeTable(receipt, changesBetween(before.rows, after.rows, topicsOf(receipt))))
    } catch (error) {
      told.textContent = sentence(error)
    } finally {
      for (const each of buttons) each.disabled = false
    }
  }

  return element('div', { class: 'thumbs' }, element('div', { class: 'buttons', role: 'group', 'aria-label': 'Grade of this answer' }, ...buttons), told, learned)
}

/** Only an operator may see it; a grade counts all the same. */
async function expertiseOf(model, gateway) {
  try {
    return { rows: (await gateway.json(`v1/expertise?model=${encodeURIComponent(model)}`)).data, why: '' }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return { rows: null, why: error.status === 403 ? "What was learned from it can be seen with an operator's key." : `What was learned from it cannot be seen: ${error.message}` }
  }
}

function changeTable(receipt, changes) {
  if (changes.length === 0) return element('p', { class: 'note' }, `What is expected of ${receipt.model} did not change visibly for any tenant.`)
  const several = new Set(changes.map(({ tenant }) => tenant)).size > 1
  const columns = [{ title: 'Topic' }, { title: 'Expected quality' }, { title: 'Change', number: true }, { title: 'Outcomes behind it', number: true }]
  const rows = changes.map(({ tenant, topic, before, after }) => ({
    cells: [
      `${topic ?? 'all topics'}${several && tenant !== null ? `, ${tenant}` : ''}`,
      element('span', {}, before === null ? quality(after.mean) : `${quality(before.mean)} → ${quality(after.mean)}`, element('small', {}, `90 %: ${range(after.low, after.high)}`)),
      before === null ? 'new' : qualityMore(after.mean - before.mean),
      before === null ? weight(after.observations) : `${weight(before.observations)} → ${weight(after.observations)}`,
    ],
  }))
  return table(`What is expected of ${receipt.model} now; what its group learned from other grades since is in it too`, columns, rows)
}
