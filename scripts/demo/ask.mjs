// One streamed turn, asked through Homing or of an engine itself, and what it cost.
const TURN_TIMEOUT_MS = 120_000
const MAX_OUTPUT_TOKENS = 16

/** @typedef {{ backend: string, reason: string, promptTokens: number, cachedTokens: number, ttftMs: number, text: string, id: string | null }} Asked */

/** POST /v1/responses: only the new input is sent; the gateway knows the rest. @returns {Promise<Asked>} */
export async function askHoming({ url, model, system, question, previousId }) {
  const body = { model, instructions: system, input: question, stream: true, temperature: 0, max_output_tokens: MAX_OUTPUT_TOKENS,
    ...(previousId === null ? {} : { previous_response_id: previousId }) }
  const turn = { text: '', ttftMs: null, usage: null, id: null }
  const response = await stream(`${url}/v1/responses`, body, (event, elapsedMs) => {
    if (event.type === 'response.output_text.delta') {
      turn.ttftMs ??= elapsedMs
      turn.text += event.delta
    } else if (event.type === 'response.failed') {
      throw new Error(`the turn failed: ${event.response?.error?.message ?? 'no reason given'}`)
    } else if (event.type === 'response.completed' || event.type === 'response.incomplete') {
      turn.usage = event.response.usage
      turn.id = event.response.id
    }
  })
  if (turn.usage === null) throw new Error('the stream ended without its terminal event or without usage')
  return {
    backend: response.headers.get('x-homing-backend') ?? '?', reason: response.headers.get('x-homing-reason') ?? '?',
    promptTokens: turn.usage.input_tokens, cachedTokens: turn.usage.input_tokens_details.cached_tokens,
    ttftMs: turn.ttftMs, text: turn.text, id: turn.id,
  }
}

/** POST /v1/chat/completions of one engine, with the whole history. @returns {Promise<Asked>} */
export async function askEngine({ url, model, messages }) {
  const body = { model, messages, stream: true, stream_options: { include_usage: true }, temperature: 0, max_tokens: MAX_OUTPUT_TOKENS }
  const turn = { text: '', ttftMs: null, usage: null }
  await stream(`${url}/v1/chat/completions`, body, (chunk, elapsedMs) => {
    if (chunk.error) throw new Error(`the engine failed: ${chunk.error.message}`)
    const text = chunk.choices?.[0]?.delta?.content
    if (text) {
      turn.ttftMs ??= elapsedMs
      turn.text += text
    }
    if (chunk.usage) turn.usage = chunk.usage
  })
  if (turn.usage === null) throw new Error(`${url} reported no usage`)
  return {
    backend: new URL(url).host, reason: 'round robin', promptTokens: turn.usage.prompt_tokens,
    cachedTokens: turn.usage.prompt_tokens_details?.cached_tokens ?? 0, ttftMs: turn.ttftMs, text: turn.text, id: null,
  }
}

async function stream(url, body, onEvent) {
  const began = performance.now()
  const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body),
    signal: AbortSignal.timeout(TURN_TIMEOUT_MS) })
  if (response.status !== 200) throw new Error(`${url} answered ${response.status}: ${(await response.text()).slice(0, 300)}`)
  const decoder = new TextDecoder()
  let rest = ''
  for await (const bytes of response.body) {
    const elapsedMs = performance.now() - began
    rest += decoder.decode(bytes, { stream: true })
    const lines = rest.split('\n')
    rest = lines.pop()
    for (const line of lines) {
      if (line.startsWith('data:') && !line.includes('[DONE]')) onEvent(JSON.parse(line.slice(5)), elapsedMs)
    }
  }
  return response
}
