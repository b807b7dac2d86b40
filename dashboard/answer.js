/** What is known of an answer while its events come in: each event makes the next state of it. */

/**
 * @typedef {{
 *   id: string | null, model: string | null, text: string, reasoning: string,
 *   status: 'waiting' | 'streaming' | 'completed' | 'incomplete' | 'failed', trouble: string | null,
 * }} Answer
 */

/** @type {Answer} */
export const NO_ANSWER = { id: null, model: null, text: '', reasoning: '', status: 'waiting', trouble: null }

/** @param {Answer} answer @param {{ name: string, data: string }} event @returns {Answer} the same one where the event says nothing of it */
export function withEvent(answer, { name, data }) {
  if (data === '[DONE]') return answer
  const said = JSON.parse(data)
  switch (said.type ?? name) {
    case 'response.created':
    case 'response.in_progress':
      return { ...answer, id: said.response.id, model: said.response.model }
    case 'response.output_text.delta':
    case 'response.refusal.delta':
      return { ...answer, status: 'streaming', text: answer.text + said.delta }
    case 'response.reasoning_summary_text.delta':
    case 'response.reasoning_text.delta':
      return { ...answer, status: 'streaming', reasoning: answer.reasoning + said.delta }
    case 'response.completed':
    case 'response.incomplete':
    case 'response.failed':
      return ended(answer, said.response)
    case 'error':
      return { ...answer, status: 'failed', trouble: said.message ?? said.error?.message ?? 'The gateway reported an error.' }
    default:
      return answer
  }
}

/** A stream that ends without a word of its own. */
export const brokenOff = (answer) =>
  isEnded(answer) ? answer : { ...answer, status: 'failed', trouble: 'The connection ended before the answer did.' }

export const isEnded = ({ status }) => status !== 'waiting' && status !== 'streaming'

/** A failed answer cannot be continued; the gateway stores the other two. */
export const canGoOn = ({ status }) => status === 'completed' || status === 'incomplete'

function ended(answer, response) {
  const text = textOf(response)
  return {
    ...answer,
    id: response.id,
    model: response.model,
    status: response.status,
    text: text === '' ? answer.text : text, // as it is stored, whatever came before
    trouble: response.error?.message ?? CUT[response.incomplete_details?.reason] ?? null,
  }
}

const CUT = { max_output_tokens: 'It reached the most tokens that were asked for.', content_filter: 'The engine filtered it.' }

const textOf = ({ output }) =>
  output
    .filter(({ type }) => type === 'message')
    .flatMap(({ content }) => content.map((part) => part.text ?? part.refusal ?? ''))
    .join('\n')
