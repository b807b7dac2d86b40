/**
 * A conversation with the gateway, and beside each answer why it came from where it came. One answer at a time. The text of a
 * conversation is on this page and in the gateway's own store, nowhere else.
 */
import { brokenOff, canGoOn, NO_ANSWER, withEvent } from './answer.js'
import { element } from './elements.js'
import { sentence } from './gateway.js'
import { receiptView } from './receipt.js'
import { eventsOf } from './sse.js'
import { thumbs } from './thumbs.js'

/** Each with its receipt; more would make the page slow, and is in the store all the same. */
const MOST_TURNS = 100
/** A few paragraphs. A small model that does not find its end is stopped there. */
const USUAL_TOKENS = 512

export function playgroundView(root, { gateway }) {
  const model = element('select', { id: 'play-model', required: true })
  const most = element('input', { id: 'play-most', type: 'number', min: 16, step: 1, value: USUAL_TOKENS, inputmode: 'numeric' })
  const several = element('select', { id: 'play-several' },
    element('option', { value: '' }, 'one model'),
    element('option', { value: 'vote' }, 'up to three, by vote'),
    element('option', { value: 'best_of' }, 'up to three, the best'),
    element('option', { value: 'synthesis' }, 'up to three, one text of all'))
  const text = element('textarea', { id: 'play-text', rows: 2, required: true, 'aria-describedby': 'play-note' })
  const send = element('button', { type: 'submit', class: 'primary' }, 'Send')
  const stop = element('button', { type: 'button', disabled: true, onclick: () => running?.abort() }, 'Stop')
  const anew = element('button', { type: 'button', onclick: begin }, 'New conversation')
  const notice = element('p', { class: 'notice', role: 'status', hidden: true })
  const left = element('p', { class: 'note', hidden: true }, 'Earlier turns still belong to the conversation; this page shows the last ones.')
  const turns = element('div', { class: 'turns', role: 'log', 'aria-label': 'Conversation', 'aria-live': 'polite' })
  const form = element('form', { class: 'ask', onsubmit: submit },
    element('div', { class: 'fields' },
      element('div', {}, element('label', { for: 'play-model' }, 'Model or group'), model),
      element('div', {}, element('label', { for: 'play-several' }, 'Answered by'), several),
      element('div', {}, element('label', { for: 'play-most' }, 'Tokens at most'), most)),
    element('label', { for: 'play-text' }, 'Message'), text,
    element('div', { class: 'buttons' }, send, stop, anew, element('span', { id: 'play-note', class: 'note' }, 'Ctrl+Enter sends')))
  root.append(notice, left, turns, form)
  text.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault()
      form.requestSubmit()
    }
  })

  /** The answer that the next message continues. */
  let parent = null
  /** @type {AbortController | null} */
  let running = null
  /** The turn before: what came after it says how good its answer was. */
  let previous = null

  function begin() {
    running?.abort()
    parent = null
    previous = null
    turns.replaceChildren()
    left.hidden = true
    text.focus()
  }

  function tell(message) {
    notice.textContent = message ?? ''
    notice.hidden = message === null
  }

  async function loadModels() {
    try {
      const { data } = await gateway.json('../v1/models')
      const chosen = model.value
      const options = (of) => of.map(({ id }) => element('option', { value: id, selected: id === chosen }, id))
      const groups = data.filter(({ homing }) => homing?.models !== undefined)
      const models = data.filter(({ homing }) => homing?.models === undefined)
      model.replaceChildren(
        ...(groups.length === 0 ? [] : [element('optgroup', { label: 'Groups: the gateway chooses the model' }, ...options(groups))]),
        ...(models.length === 0 ? [] : [element('optgroup', { label: 'Models' }, ...options(models))]))
      tell(data.length === 0 ? 'No backend in service offers a model yet. The view Fleet shows why.' : null)
    } catch (error) {
      tell(sentence(error))
    }
  }

  async function submit(event) {
    event.preventDefault()
    if (running !== null || text.value.trim() === '') return
    const turn = turnOf(text.value, model.value)
    const body = {
      model: model.value,
      input: text.value,
      stream: true,
      ...(parent === null ? {} : { previous_response_id: parent }),
      // a rule of the configuration may ask several all the same
      ...(several.value === '' ? {} : { homing: { ensemble: { merge: several.value } } }),
      ...(most.value === '' ? {} : { max_output_tokens: Number(most.value) }),
    }
    text.value = ''
    turns.append(turn.article)
    while (turns.childElementCount > MOST_TURNS) {
      turns.firstElementChild.remove()
      left.hidden = false
    }
    turn.article.scrollIntoView({ block: 'nearest' })
    await answer(turn, body)
  }

  async function answer(turn, body) {
    const controller = new AbortController()
    running = controller
    send.disabled = true
    stop.disabled = false
    turns.setAttribute('aria-busy', 'true')
    let known = NO_ANSWER
    try {
      const response = await gateway.stream('../v1/responses', body, controller.signal)
      for await (const event of eventsOf(response.body)) {
        known = withEvent(known, event)
        turn.show(known)
      }
      known = brokenOff(known)
    } catch (error) {
      const trouble = controller.signal.aborted ? 'You stopped it. It is not part of the conversation.' : sentence(error)
      known = { ...known, status: 'failed', trouble }
      if (known.id === null && text.value === '') text.value = body.input // nothing came of it: it can be sent again
    }
    turn.show(known)
    turns.setAttribute('aria-busy', 'false')
    if (running === controller) {
      running = null
      send.disabled = false
      stop.disabled = true
      if (canGoOn(known) && !controller.signal.aborted) parent = known.id
    }
    if (known.id === null || controller.signal.aborted) return
    const before = previous
    previous = turn
    await Promise.all([turn.explain(known, gateway), before?.explainAgain(gateway)])
  }

  return {
    show: () => void loadModels(),
    hide: () => {},
  }
}

const receiptOf = (id, gateway) => gateway.json(`v1/responses/${encodeURIComponent(id)}/decision`)

/** One question with its answer and its receipt. */
function turnOf(question, asked) {
  const who = element('h3', {}, asked)
  const said = element('div', { class: 'text' }, 'Waiting for the first token …')
  const reasoning = element('details', { hidden: true }, element('summary', {}, 'Reasoning'), element('div', { class: 'text' }))
  const trouble = element('p', { class: 'notice', hidden: true })
  const judged = element('div')
  const why = element('aside', { class: 'why', 'aria-label': 'Why this answer came from where it came' })
  // beside the answer there is room for it; below, the conversation would be lost between receipts
  const open = matchMedia('(min-width: 64rem)').matches
  const article = element('article', {},
    element('div', { class: 'exchange' },
      element('h3', {}, 'You'), element('div', { class: 'text' }, question),
      who, reasoning, said, trouble, judged),
    why)
  let shown = ''
  let id = null
  return {
    article,
    show(answer) {
      who.textContent = answer.model ?? asked
      if (answer.text !== shown) {
        // only what is new is put in, so that a selection stays and a long answer is not laid out anew with each token
        if (shown !== '' && answer.text.startsWith(shown)) said.lastChild.appendData(answer.text.slice(shown.length))
        else said.replaceChildren(document.createTextNode(answer.text))
        shown = answer.text
      }
      if (answer.text === '' && answer.status !== 'waiting') said.textContent = answer.reasoning === '' ? '(no text)' : ''
      reasoning.hidden = answer.reasoning === ''
      reasoning.lastChild.textContent = answer.reasoning
      trouble.hidden = answer.trouble === null
      trouble.className = answer.status === 'failed' ? 'notice' : 'note'
      trouble.textContent = answer.trouble ?? ''
    },
    async explain(answer, gateway) {
      id = answer.id
      try {
        const receipt = await receiptOf(id, gateway)
        why.replaceChildren(element('details', { open }, element('summary', {}, `Why ${receipt.backend_id}`), receiptView(receipt)))
        if (canGoOn(answer)) judged.replaceChildren(thumbs(receipt, gateway))
      } catch (error) {
        why.replaceChildren(element('p', { class: 'note' }, `There is no receipt: ${sentence(error)}`))
      }
    },
    /** Now that the conversation has gone on. */
    async explainAgain(gateway) {
      try {
        const receipt = await receiptOf(id, gateway)
        why.querySelector('.receipt')?.replaceWith(receiptView(receipt))
      } catch (error) {
        why.append(element('p', { class: 'note' }, `The receipt could not be asked for again: ${sentence(error)}`))
      }
    },
  }
}
