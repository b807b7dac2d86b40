/** Server-sent events, as the HTML standard reads them, from text that comes in any pieces. */

/** No event of an answer is longer; more without an end would only fill this tab's memory. Characters. */
const LONGEST_EVENT = 8 * 2 ** 20

export class EventReader {
  #rest = ''
  #name = ''
  /** @type {string[]} */
  #data = []
  #size = 0

  /** @param {string} text @returns {{ name: string, data: string }[]} the events that ended in it */
  push(text) {
    const found = []
    // a line may end with CR LF, LF or CR; whether a CR at the very end is alone is known with the next piece
    let all = this.#rest + text
    let held = ''
    if (all.endsWith('\r')) [all, held] = [all.slice(0, -1), '\r']
    const lines = all.split(/\r\n|\n|\r/)
    this.#rest = lines.pop() + held
    for (const line of lines) {
      if (line === '') {
        if (this.#data.length > 0) found.push({ name: this.#name === '' ? 'message' : this.#name, data: this.#data.join('\n') })
        this.#name = ''
        this.#data = []
        this.#size = 0
      } else this.#field(line)
    }
    if (this.#rest.length + this.#size > LONGEST_EVENT) throw new Error('The gateway sent an event without an end.')
    return found
  }

  #field(line) {
    const colon = line.indexOf(':')
    if (colon === 0) return // a comment: a sign of life
    const name = colon === -1 ? line : line.slice(0, colon)
    const value = colon === -1 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    if (name === 'event') this.#name = value
    else if (name === 'data') {
      this.#data.push(value)
      this.#size += value.length
    }
  }
}

/** @param {ReadableStream<Uint8Array>} body */
export async function* eventsOf(body) {
  const decoder = new TextDecoder()
  const events = new EventReader()
  const reader = body.getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      yield* events.push(decoder.decode(value, { stream: true }))
    }
  } finally {
    await reader.cancel()
  }
}
