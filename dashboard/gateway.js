/**
 * Asking the gateway: one key for all questions, asked for when a route answers 401, kept in this tab's session storage and
 * nowhere else. Every question has a time limit; a refusal is an error whose message is a sentence for people.
 */

/** A route of the gateway answers at once or not at all. */
const PATIENCE_MS = 10_000
const KEY = 'homing.key'

export class Refusal extends Error {
  /** @param {number} status 0: there was no answer @param {string} message @param {string | null} code */
  constructor(status, message, code = null) {
    super(message)
    this.name = 'Refusal'
    this.status = status
    this.code = code
  }
}

export class Gateway {
  #base
  #storage
  #askForKey
  #fetch
  #onRefused
  #asking = null
  /** The viewer closed the question for a key; it is not put again before something is pressed. */
  #declined = false

  /**
   * @param {{
   *   base: string | URL, storage: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>,
   *   askForKey: (why: string) => Promise<string | null>,
   *   onRefused?: () => void, fetch?: typeof fetch,
   * }} options `base`: the page's own address, with its last slash; `onRefused`: a route wants another key
   */
  constructor({ base, storage, askForKey, onRefused = () => {}, fetch = globalThis.fetch.bind(globalThis) }) {
    this.#base = new URL(base)
    this.#storage = storage
    this.#askForKey = askForKey
    this.#fetch = fetch
    this.#onRefused = onRefused
  }

  get hasKey() {
    return this.#storage.getItem(KEY) !== null
  }

  forgetKey() {
    this.#storage.removeItem(KEY)
    this.#declined = false
  }

  /** @returns {Promise<boolean>} whether there is a new one */
  enterKey(why = '') {
    this.#declined = false
    return this.#newKey(why)
  }

  /**
   * @param {string} path relative to the page: `v1/backends` is the operators' route, `../v1/models` the API's
   * @param {{ method?: string, body?: unknown, signal?: AbortSignal }} [options]
   */
  async json(path, { method = 'GET', body, signal } = {}) {
    const limit = AbortSignal.timeout(PATIENCE_MS)
    const response = await this.#ask(path, method, body, signal === undefined ? limit : AbortSignal.any([signal, limit]))
    return response.json()
  }

  /** A stream lasts as long as its answer; the viewer ends it. */
  async stream(path, body, signal) {
    return this.#ask(path, 'POST', body, signal)
  }

  async #ask(path, method, body, signal) {
    for (;;) {
      const key = this.#storage.getItem(KEY)
      const response = await this.#send(path, method, body, key, signal)
      if (response.ok) return response
      const refusal = await refusalOf(response)
      if (refusal.status === 401 || refusal.status === 403) this.#onRefused()
      if (refusal.status !== 401 || this.#declined) throw refusal
      // another question may have brought a new key meanwhile
      if (this.#storage.getItem(KEY) === key && !(await this.#newKey(key === null ? '' : 'The gateway does not know the key that was given.'))) throw refusal
    }
  }

  async #send(path, method, body, key, signal) {
    try {
      return await this.#fetch(new URL(path, this.#base), {
        method,
        signal,
        headers: { ...(key === null ? {} : { authorization: `Bearer ${key}` }), ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        credentials: 'omit',
        redirect: 'error',
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
    } catch (error) {
      if (error.name === 'AbortError') throw error
      throw new Refusal(0, error.name === 'TimeoutError' ? `The gateway did not answer within ${PATIENCE_MS / 1000} s.` : 'The gateway cannot be reached.')
    }
  }

  #newKey(why) {
    this.#asking ??= this.#askForKey(why).then((key) => {
      this.#asking = null
      this.#declined = key === null
      if (key !== null) this.#storage.setItem(KEY, key)
      return key !== null
    })
    return this.#asking
  }
}

async function refusalOf(response) {
  let told = null
  try {
    told = (await response.json())?.error ?? null
  } catch (error) {
    if (error.name === 'AbortError') throw error
    // no JSON: a proxy between, which the status tells well enough
  }
  const message = typeof told?.message === 'string' ? told.message : `The answer was HTTP ${response.status}.`
  return new Refusal(response.status, message, typeof told?.code === 'string' ? told.code : null)
}

/** A failure as a sentence. */
export function sentence(error) {
  if (error instanceof Refusal && error.status === 401) return 'The gateway asks for a key. Enter one with the button at the top.'
  if (error instanceof Refusal && error.status === 403) return "This needs an operator's key. Enter one with the button at the top."
  return error instanceof Error ? error.message : String(error)
}
