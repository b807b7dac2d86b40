/**
 * What changed in the engines' caches, on its way to the gateway: records of three words, in messages of at most
 * `RECORDS_A_MESSAGE`, one every `EVERY_MS` at most. A publisher that floods fills the queue, and its socket is not read
 * until the queue has room: the gateway never spends more than a few per cent on events, whatever is sent.
 */
import type { Tier } from './kv-event.ts'
import type { ChangeSink } from './engine-blocks.ts'
import { CHANGE, WORDS_A_RECORD } from './messages.ts'

export type ChangeQueuePorts = {
  readonly send: (backend: number, records: Uint32Array<ArrayBuffer>) => void
  readonly after: (ms: number, task: () => void) => () => void
}

export class ChangeQueue {
  readonly #ports: ChangeQueuePorts
  readonly #queues = new Map<number, BackendQueue>()
  readonly #order: number[] = []
  #underWay = 0
  #scheduled = false

  constructor(ports: ChangeQueuePorts) {
    this.#ports = ports
  }

  sinkOf(backend: number): ChangeSink & { mayRead(): Promise<void> } {
    const queue = new BackendQueue(() => this.#soon(backend))
    this.#queues.set(backend, queue)
    return queue
  }

  forget(backend: number): void {
    this.#queues.get(backend)?.release()
    this.#queues.delete(backend)
  }

  /** The gateway has worked one message in. */
  taken(): void {
    this.#underWay--
    this.#schedule()
  }

  #soon(backend: number): void {
    this.#order.push(backend)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#scheduled || this.#order.length === 0 || this.#underWay >= MOST_UNDER_WAY) return
    this.#scheduled = true
    this.#ports.after(EVERY_MS, () => {
      this.#scheduled = false
      this.#flush()
    })
  }

  #flush(): void {
    const backend = this.#order.shift()
    const queue = backend === undefined ? undefined : this.#queues.get(backend)
    if (backend !== undefined && queue !== undefined) {
      this.#underWay++
      this.#ports.send(backend, queue.take())
      if (queue.length > 0) this.#order.push(backend)
      else queue.listed = false
    }
    this.#schedule()
  }
}

class BackendQueue implements ChangeSink {
  listed = false
  readonly #soon: () => void
  #words = new Uint32Array(WORDS_A_RECORD * RECORDS_A_MESSAGE)
  #from = 0
  #to = 0
  #resume: (() => void) | null = null
  #room: Promise<void> | null = null

  constructor(soon: () => void) {
    this.#soon = soon
  }

  get length(): number {
    return this.#to - this.#from
  }

  held(low: number, high: number, tier: Tier): void {
    this.#add(low, high, CHANGE.held | tier)
  }

  gone(low: number, high: number, tier: Tier): void {
    this.#add(low, high, CHANGE.gone | tier)
  }

  /** What was queued before it no longer matters. */
  allGone(complete: boolean): void {
    this.#from = 0
    this.#to = 0
    this.#add(complete ? 1 : 0, 0, CHANGE.allGone)
  }

  mayRead(): Promise<void> {
    if (this.length < WORDS_A_RECORD * MOST_QUEUED) return READY
    this.#room ??= new Promise((resolve) => {
      this.#resume = resolve
    })
    return this.#room
  }

  take(): Uint32Array<ArrayBuffer> {
    const count = Math.min(this.length, WORDS_A_RECORD * RECORDS_A_MESSAGE)
    const records = this.#words.slice(this.#from, this.#from + count)
    this.#from += count
    if (this.#from === this.#to) {
      this.#from = 0
      this.#to = 0
    }
    if (this.length < WORDS_A_RECORD * (MOST_QUEUED / 2)) this.release()
    return records
  }

  release(): void {
    this.#resume?.()
    this.#resume = null
    this.#room = null
  }

  #add(low: number, high: number, what: number): void {
    if (this.#to + WORDS_A_RECORD > this.#words.length) this.#makeRoom()
    this.#words[this.#to++] = low
    this.#words[this.#to++] = high
    this.#words[this.#to++] = what
    if (this.listed) return
    this.listed = true
    this.#soon()
  }

  #makeRoom(): void {
    const kept = this.#words.subarray(this.#from, this.#to)
    const words = 2 * kept.length > this.#words.length ? new Uint32Array(2 * this.#words.length) : this.#words
    words.set(kept)
    this.#words = words
    this.#to = kept.length
    this.#from = 0
  }
}

const READY = Promise.resolve()
/** About 0.1 ms of the gateway. */
const RECORDS_A_MESSAGE = 1024
/** With the above at most 512,000 records a second. */
const EVERY_MS = 2
/** Messages that the gateway has not worked in yet. */
const MOST_UNDER_WAY = 8
/** Records a backend may have queued before its socket is left unread; one batch may go beyond. */
const MOST_QUEUED = 65_536
