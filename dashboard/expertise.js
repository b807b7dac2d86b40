/** What is believed of each model by topic; an operator can set a cell or have it forgotten. */
import { believed, confirmed, element, moment, passTime, table } from './elements.js'
import { MOST_OUTCOMES, rowsShown, sortedAfterPress, tenantsOf, wrongEdit } from './expertise-rows.js'
import { quality, range, weight } from './format.js'
import { sentence } from './gateway.js'
import { Poll } from './poll.js'

/** Beliefs move with outcomes, and slowly. */
const EVERY_MS = 10_000
/** A page that holds more rows scrolls badly; the filter finds the others. */
const MOST_SHOWN = 300

/** As much as a word of the configuration counts, if nothing else is said. */
const USUAL_OUTCOMES = 20

const TITLES = { tenant: 'Tenant', model: 'Model', topic: 'Topic', mean: 'Expected quality', interval: '90 % interval', observations: 'Outcomes behind it', last_change: 'Last change' }

export function expertiseView(root, { gateway }) {
  const notice = element('p', { class: 'notice', role: 'status', hidden: true })
  const tenant = element('select', { id: 'expertise-tenant', onchange: render })
  const tenantField = element('div', {}, element('label', { for: 'expertise-tenant' }, 'Tenant'), tenant)
  const search = element('input', { id: 'expertise-search', type: 'search', oninput: render, placeholder: 'for example: coder math' })
  const told = element('p', { class: 'note', role: 'status' })
  const list = element('div')
  root.append(
    element('p', {}, 'How good the answers of each model are expected to be, from 0 to 1, by the topic of the conversation. Grades and signals move it; it decides together with the seconds.'),
    notice,
    element('div', { class: 'fields' }, tenantField, element('div', {}, element('label', { for: 'expertise-search' }, 'Model or topic'), search)),
    told, list)

  let rows = null
  let text = ''
  let more = false
  let sort = { key: 'model', direction: 'ascending' }

  const load = async (signal) => {
    try {
      const answer = await gateway.json('v1/expertise', { signal })
      notice.hidden = true
      const now = JSON.stringify(answer)
      if (now !== text) {
        ;[text, rows, more] = [now, answer.data, answer.has_more]
        listTenants()
        render()
      } else passTime(list)
      return true
    } catch (error) {
      if (signal?.aborted) return false
      notice.textContent = rows === null ? sentence(error) : `${sentence(error)} What is shown is of before.`
      notice.hidden = false
      return false
    }
  }
  const poll = new Poll({ everyMs: EVERY_MS, ask: load })

  function listTenants() {
    const names = tenantsOf(rows)
    const chosen = tenant.value
    tenant.replaceChildren(
      element('option', { value: '*' }, 'all'),
      ...names.map((name) => element('option', { value: `=${name}`, selected: `=${name}` === chosen }, name === '' ? 'shared by all' : name)))
    tenantField.hidden = names.length < 2
  }

  function render() {
    if (rows === null) return
    const focused = document.activeElement?.dataset?.focus ?? null
    const found = rowsShown(rows, { tenant: tenant.value === '*' || tenantField.hidden ? null : tenant.value.slice(1), words: search.value }, sort)
    const shown = found.slice(0, MOST_SHOWN)
    told.textContent = tellCount(found.length, shown.length, rows.length)
    list.replaceChildren(...(shown.length === 0 ? [] : [tableOf(shown)]))
    if (focused !== null) list.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus()
  }

  function tellCount(found, shown, all) {
    if (all === 0) return 'Nothing is known yet: no model of a group has been asked for, or there is no group of models in the configuration.'
    if (found === 0) return 'No row fits the filter.'
    const left = found > shown ? `The first ${shown} of ${found} rows; the filter finds the others.` : `${found} row${found === 1 ? '' : 's'}.`
    return more ? `${left} The gateway has more than it told.` : left
  }

  function tableOf(shown) {
    const withTenant = !tenantField.hidden
    const keys = Object.keys(TITLES).filter((key) => key !== 'tenant' || withTenant)
    // the model names a row
    const ordered = withTenant ? ['model', 'tenant', ...keys.filter((key) => key !== 'model' && key !== 'tenant')] : keys
    const columns = ordered.map((key) => ({
      title: TITLES[key],
      number: key === 'observations' || key === 'mean',
      long: key === 'model' || key === 'tenant',
      sort: {
        key,
        direction: sort.key === key ? sort.direction : 'none',
        by: () => {
          sort = sortedAfterPress(sort, key)
          render()
        },
      },
    }))
    return table('Models by topic', [...columns, { title: 'Change it' }], shown.map((row) => {
      const cells = {
        tenant: row.tenant ?? 'shared by all', model: row.model, topic: row.topic ?? 'all topics', mean: withEdit(row),
        interval: believed(row.low, row.mean, row.high, range(row.low, row.high)), observations: weight(row.observations), last_change: moment(row.last_change),
      }
      return { class: row.topic === null ? 'whole' : null, cells: [...ordered.map((key) => cells[key]), buttonsOf(row)] }
    }))
  }

  function buttonsOf(row) {
    const name = nameOf(row)
    const id = JSON.stringify([row.tenant, row.model, row.topic])
    return element('span', { class: 'buttons' },
      element('button', { type: 'button', 'data-focus': `set ${id}`, 'aria-label': `Set ${name}`, onclick: () => edit(row) }, 'Set'),
      element('button', { type: 'button', 'data-focus': `reset ${id}`, 'aria-label': `Reset ${name}`, onclick: () => void reset(row) }, 'Reset'))
  }

  function edit(row) {
    const mean = element('input', { id: 'edit-mean', type: 'number', min: 0, max: 1, step: 'any', required: true, value: row.edited?.mean ?? row.mean })
    const weighs = element('input', { id: 'edit-outcomes', type: 'number', min: 1, max: MOST_OUTCOMES, step: 'any', required: true, value: row.edited?.observations ?? USUAL_OUTCOMES, 'aria-describedby': 'edit-note' })
    const wrong = element('p', { class: 'notice', role: 'alert', hidden: true })
    const submit = async (event) => {
      event.preventDefault()
      const body = { ...(row.tenant === null ? {} : { tenant: row.tenant }), model: row.model, ...(row.topic === null ? {} : { topic: row.topic }), mean: Number(mean.value), observations: Number(weighs.value) }
      try {
        const refused = wrongEdit(body.mean, body.observations)
        if (refused === null) await gateway.json('v1/expertise', { method: 'PUT', body })
        wrong.textContent = refused ?? ''
        wrong.hidden = refused === null
        if (refused === null) dialog.close()
      } catch (error) {
        wrong.textContent = sentence(error)
        wrong.hidden = false
      }
    }
    const dialog = element('dialog', { 'aria-labelledby': 'edit-title', onclose: () => {
      dialog.remove()
      void load()
    } }, element('form', { onsubmit: (event) => void submit(event) },
      element('h2', { id: 'edit-title' }, `Set ${nameOf(row)}`),
      element('label', { for: 'edit-mean' }, 'Expected quality, 0 to 1'), mean,
      element('label', { for: 'edit-outcomes' }, 'As much as so many outcomes'), weighs,
      element('p', { id: 'edit-note', class: 'note' }, 'It is believed as if so many outcomes of this quality had been seen. Your word does not age; outcomes outweigh it in time.'),
      wrong,
      element('div', { class: 'buttons' }, element('button', { type: 'submit', class: 'primary' }, 'Set it'), element('button', { type: 'button', onclick: () => dialog.close() }, 'Cancel'))))
    document.body.append(dialog)
    dialog.showModal()
  }

  async function reset(row) {
    const text = row.topic === null
      ? 'All that was learned and set of this model is forgotten, in all topics. What is declared in the configuration stays. This cannot be undone.'
      : 'What was learned and set of it is forgotten. What is declared in the configuration stays. This cannot be undone.'
    if (!(await confirmed(`Reset ${nameOf(row)}?`, text, 'Reset it'))) return
    const query = new URLSearchParams({ model: row.model, ...(row.topic === null ? {} : { topic: row.topic }), ...(row.tenant === null ? {} : { tenant: row.tenant }) })
    try {
      await gateway.json(`v1/expertise?${query}`, { method: 'DELETE' })
      await load()
    } catch (error) {
      notice.textContent = sentence(error)
      notice.hidden = false
    }
  }

  /** The tenant is named where there are several. */
  function nameOf({ tenant: owner, model, topic }) {
    return `${model}, ${topic ?? 'all topics'}${owner === null || tenantField.hidden ? '' : `, tenant ${owner}`}`
  }

  return { show: () => poll.start(), hide: () => poll.stop() }
}

/** What an operator set there is told beside what came of it. */
const withEdit = ({ mean, edited }) =>
  edited === null ? quality(mean) : element('span', {}, quality(mean), element('small', {}, `set to ${quality(edited.mean)}, as much as ${weight(edited.observations)} outcomes`))

