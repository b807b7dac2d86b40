// Is there an inference engine behind this address? Asked with GET only; nothing is generated.

/** Where engines listen unless told otherwise. */
export const USUAL_PORTS = [
  { port: 8000, engine: 'vLLM' },
  { port: 8080, engine: 'llama.cpp' },
  { port: 30000, engine: 'SGLang' },
  { port: 11434, engine: 'Ollama' },
  { port: 1234, engine: 'LM Studio' },
]
const LARGEST_ANSWER = 1 << 20

/**
 * The ids of the models that `GET /v1/models` lists, or null when what answers is not an engine with a model: wrong
 * status, not JSON, another shape, nothing in the list, no answer in time, or another Homing.
 */
export async function askModels(url, timeoutMs = 1000) {
  const answer = await getJson(`${url}/v1/models`, timeoutMs)
  if (answer === null || answer.object !== 'list' || !Array.isArray(answer.data)) return null
  const ids = answer.data.map(model => model?.id).filter(id => typeof id === 'string' && id !== '')
  return ids.length > 0 && ids.length === answer.data.length ? ids : null
}

async function getJson(url, timeoutMs) {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs), redirect: 'error', headers: { accept: 'application/json' } })
    if (response.status !== 200) {
      await response.body?.cancel()
      return null
    }
    const body = await readBounded(response)
    const value = JSON.parse(body)
    return typeof value === 'object' && value !== null ? value : null
  } catch {
    return null // unreachable, too slow, or not JSON: "no engine here" is the answer
  }
}

async function readBounded(response) {
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of response.body) {
    text += decoder.decode(chunk, { stream: true })
    if (text.length > LARGEST_ANSWER) throw new Error('the answer is too long to be a list of models')
  }
  return text
}

/** Another Homing lists models too; only it knows this route. Guards against a gateway in front of itself. */
export async function isHoming(url, timeoutMs = 1000) {
  try {
    const response = await fetch(`${url}/homing/v1/backends`, { signal: AbortSignal.timeout(timeoutMs), redirect: 'error' })
    await response.body?.cancel()
    return [200, 401, 403].includes(response.status)
  } catch {
    return false // no answer: not a Homing that works
  }
}

/** @returns {Promise<{ url: string, engine: string, models: string[] }[]>} */
export async function findLocalEngines(usual = USUAL_PORTS, timeoutMs = 1000) {
  const found = await Promise.all(usual.map(async ({ port, engine }) => {
    const url = `http://127.0.0.1:${port}`
    const models = await askModels(url, timeoutMs)
    return models === null || (await isHoming(url, timeoutMs)) ? null : { url, engine, models }
  }))
  return found.filter(entry => entry !== null)
}
