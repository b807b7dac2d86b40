/** Ids in OpenAI's style: a prefix and 48 hexadecimal digits, the first 12 of which are the time, so that they sort. */
import { randomFillSync } from 'node:crypto'

/** Random bytes are drawn in bulk: a call per id costs more than the id. */
const POOL_BYTES = 8192
const ID_BYTES = 18

export class Ids {
  readonly #wallMs: () => number
  readonly #pool = Buffer.alloc(POOL_BYTES)
  #used = POOL_BYTES

  constructor(wallMs: () => number) {
    this.#wallMs = wallMs
  }

  next(prefix: string): string {
    if (this.#used + ID_BYTES > POOL_BYTES) {
      randomFillSync(this.#pool)
      this.#used = 0
    }
    const random = this.#pool.toString('hex', this.#used, this.#used + ID_BYTES)
    this.#used += ID_BYTES
    return `${prefix}_${this.#wallMs().toString(16).padStart(12, '0')}${random}`
  }
}
