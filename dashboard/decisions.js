/** The last decisions of the gateway: a tenant's own, or all for an operator. */
import { element, moment, passTime, table } from './elements.js'
import { count, milliseconds } from './format.js'
import { sentence } from './gateway.js'
import { Poll } from './poll.js'
import { receiptView } from './receipt.js'
import { OUTCOMES } from './words.js'

const EVERY_MS = 5000
const LIMIT = 50

export function decisionsView(root, { gateway }) {
  const notice = element('p', { class: 'notice', role: 'status', hidden: true })
  const list = element('div')
  root.append(element('p', {}, 'The newest first, since the gateway started. A receipt holds no text of a conversation.'), notice, list)
  let shown = ''

  const poll = new Poll({
    everyMs: EVERY_MS,
    ask: async (signal) => {
      try {
        show((await gateway.json(`v1/decisions?limit=${LIMIT}`, { signal })).data)
        notice.hidden = true
        return true
      } catch (error) {
        if (signal.aborted) return false
        notice.textContent = shown === '' ? sentence(error) : `${sentence(error)} What is shown is of before.`
        notice.hidden = false
        return false
      }
    },
  })

  function show(receipts) {
    const now = receipts.map(({ tenant, id, outcome }) => `${tenant} ${id} ${outcome}`).join('\n')
    if (now === shown && receipts.length > 0) return passTime(list)
    shown = now
    const focused = document.activeElement?.dataset?.focus ?? null
    list.replaceChildren(receipts.length === 0 ? element('p', {}, 'There was no turn yet. The playground makes one.') : tableOf(receipts))
    if (focused !== null) list.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus()
  }

  return { show: () => poll.start(), hide: () => poll.stop() }
}

function tableOf(receipts) {
  const several = new Set(receipts.map(({ tenant }) => tenant)).size > 1
  const columns = [
    { title: 'Answer' }, { title: 'When' }, ...(several ? [{ title: 'Tenant', long: true }] : []), { title: 'Model', long: true }, { title: 'Backend', long: true }, { title: 'Because' },
    { title: 'Prompt tokens', number: true }, { title: 'Cached', number: true }, { title: 'First token', number: true }, { title: 'Outcome' },
  ]
  return table(`${receipts.length === 1 ? 'The last decision' : `The last ${receipts.length} decisions`}, asked again every ${EVERY_MS / 1000} s`, columns, receipts.map((receipt) => ({
    class: receipt.outcome === 'failed' ? 'down' : null,
    cells: [
      element('button', { type: 'button', class: 'id', 'data-focus': receipt.id, 'aria-label': `Why ${shortId(receipt.id)}`, title: receipt.id, onclick: () => explain(receipt) }, shortId(receipt.id)),
      moment(receipt.created_at_ms / 1000),
      ...(several ? [receipt.tenant] : []),
      `${receipt.model}${receipt.group === undefined ? '' : ` of ${receipt.group.name}`}${receipt.member_of === undefined ? '' : ', one of several'}`,
      receipt.backend_id, receipt.reason, count(receipt.prompt_tokens.actual ?? receipt.prompt_tokens.expected), count(receipt.cached_tokens.actual),
      milliseconds(receipt.ttft_ms), OUTCOMES[receipt.outcome] ?? receipt.outcome,
    ],
  })))
}

/** The last letters differ. */
const shortId = (id) => (id.length <= 16 ? id : `…${id.slice(-8)}`)

function explain(receipt) {
  const dialog = element('dialog', { class: 'wide', 'aria-labelledby': 'why-title', onclose: () => dialog.remove() },
    element('h2', { id: 'why-title', tabindex: -1, autofocus: true }, 'Why here'), element('p', { class: 'note' }, element('code', {}, receipt.id)), receiptView(receipt),
    element('div', { class: 'buttons' }, element('button', { type: 'button', class: 'primary', onclick: () => dialog.close() }, 'Close')))
  document.body.append(dialog)
  dialog.showModal()
}
