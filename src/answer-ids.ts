/**
 * Ids of Chat answers. A backend's own id is the answer's, unless it names another answer already: servers that count from 1 after
 * each start, or call every answer the same, would otherwise have outcomes and receipts of one answer taken for another's. One
 * that gives none, or an id that is too long to be looked up, gets ours too.
 *
 * Claimed from the first event of an answer until its receipt is written; from then on `isKnown` knows it. Two look-ups an answer;
 * bounded by the turns in flight.
 */
export type AnswerIdPorts = {
  readonly isKnown: (tenant: string, id: string) => boolean
  /** Ours, unique. */
  readonly newId: () => string
  /** A backend's id could not be kept. */
  readonly replaced: (why: 'answer_id_missing' | 'answer_id_repeated' | 'answer_id_unusable') => void
}

export class AnswerIds {
  readonly #ports: AnswerIdPorts
  readonly #claimed = new Set<string>()

  constructor(ports: AnswerIdPorts) {
    this.#ports = ports
  }

  /** The id that the client is told; release it when the receipt is written or the answer is given up. */
  claim(tenant: string, given: string | null): string {
    const id = this.#usable(tenant, given) ?? this.#ports.newId()
    this.#claimed.add(keyOf(tenant, id))
    return id
  }

  release(tenant: string, id: string): void {
    this.#claimed.delete(keyOf(tenant, id))
  }

  #usable(tenant: string, given: string | null): string | null {
    const { isKnown, replaced } = this.#ports
    if (given === null || given === '') replaced('answer_id_missing')
    else if (given.length > LONGEST_ID || !PRINTABLE.test(given)) replaced('answer_id_unusable')
    else if (this.#claimed.has(keyOf(tenant, given)) || isKnown(tenant, given)) replaced('answer_id_repeated')
    else return given
    return null
  }
}

const keyOf = (tenant: string, id: string): string => `${tenant}\u0000${id}`
/** Characters; an outcome may name no longer one. */
const LONGEST_ID = 512
const PRINTABLE = /^[\x21-\x7e]+$/
