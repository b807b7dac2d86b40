/**
 * Elements from data. Whatever comes from outside becomes a text node or an attribute, never markup: there is no other way in
 * here to put something on the page.
 */
import { ago } from './format.js'

/**
 * @param {string} tag
 * @param {Record<string, unknown>} [properties] `class`, `on...` listeners, `aria-` and `data-` attributes; false and null are left out
 * @param {...(Node | string | null | false)} children
 * @returns {HTMLElement}
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue
    if (name.startsWith('on') && typeof value === 'function') made.addEventListener(name.slice(2), value)
    else made.setAttribute(name, value === true ? '' : String(value))
  }
  made.append(...children.filter((child) => child !== null && child !== false))
  return made
}

/** How long a moment is over, told anew by `passTime`. @param {number | null} atSeconds since 1970 */
export const moment = (atSeconds) => element('time', { 'data-at': atSeconds ?? '' }, ago(atSeconds, Date.now()))

/** What was drawn stays as it is; only its ages grow. @param {Element} root */
export function passTime(root) {
  for (const each of root.querySelectorAll('time')) each.textContent = ago(each.dataset.at === '' ? null : Number(each.dataset.at), Date.now())
}

/** @param {string} id */
export function byId(id) {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`the page has no #${id}`)
  return found
}

/**
 * A table that becomes a list of labelled lines on a narrow screen. The roles keep it a table for screen readers then.
 *
 * `long`: a column of names of any length.
 *
 * @param {string} caption
 * @param {readonly { title: string, number?: boolean, long?: boolean, sort?: { key: string, direction: 'ascending' | 'descending' | 'none', by: () => void } }[]} columns
 * @param {readonly { class?: string | null, cells: readonly (Node | string | null)[] }[]} rows the first cell names the row
 */
export function table(caption, columns, rows) {
  const head = columns.map(({ title, number = false, sort }) =>
    element('th', { scope: 'col', role: 'columnheader', class: number ? 'number' : null, 'aria-sort': sort?.direction ?? null },
      sort === undefined ? title : element('button', { type: 'button', class: 'sort', 'data-sort': sort.key, onclick: sort.by }, title)))
  const body = rows.map(({ class: kind = null, cells }) =>
    element('tr', { role: 'row', class: kind }, ...cells.map((cell, at) => {
      const { title, number = false, long = false } = columns[at]
      const properties = { 'data-title': title, class: number ? 'number' : long ? 'long' : null }
      return at === 0 ? element('th', { ...properties, scope: 'row', role: 'rowheader' }, cell ?? '') : element('td', { ...properties, role: 'cell' }, cell ?? '')
    })))
  return element('table', { role: 'table' },
    element('caption', {}, caption),
    element('thead', { role: 'rowgroup' }, element('tr', { role: 'row' }, ...head)),
    element('tbody', { role: 'rowgroup' }, ...body))
}

/** A belief between 0 and 1: its text, and below it the interval and the mean on a line from 0 to 1. */
export function believed(low, mean, high, text) {
  const line = element('span', { class: 'belief', 'aria-hidden': 'true' }, element('span', { class: 'interval' }), element('span', { class: 'mean' }))
  for (const [name, value] of [['--low', low], ['--mean', mean], ['--high', high]]) line.style.setProperty(name, `${100 * Math.min(1, Math.max(0, value))}%`)
  return element('span', { class: 'believed' }, text, line)
}

/** Asks before something is changed. @returns {Promise<boolean>} */
export function confirmed(title, text, action) {
  const dialog = element('dialog', { 'aria-labelledby': 'confirm-title' })
  let yes = false
  const close = (answer) => () => {
    yes = answer
    dialog.close()
  }
  dialog.append(
    element('h2', { id: 'confirm-title' }, title),
    element('p', {}, text),
    element('div', { class: 'buttons' },
      element('button', { type: 'button', class: 'primary', onclick: close(true) }, action),
      element('button', { type: 'button', onclick: close(false), autofocus: true }, 'Cancel')))
  document.body.append(dialog)
  dialog.showModal()
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove()
      resolve(yes)
    }, { once: true })
  })
}
