/**
 * The gateway's end of the events process: starts it with the first backend that has events, works changes in, keeps the
 * last status of each stream. When that process dies, everything it told is forgotten and it is started again after a
 * pause that doubles; until then nobody takes what is here for true (`live` is false).
 */
import type { ChildProcess } from 'node:child_process'
import { HeldBlocks } from './held-blocks.ts'
import type { Tier } from './kv-event.ts'
import {
  CHANGE,
  WORDS_A_RECORD,
  type FromEvents,
  type StreamStatus,
  type TokenizeRequest,
  type ToEvents,
} from './messages.ts'
import type { Observation } from './run-log.ts'
import type { Publisher } from './subscription.ts'
import type { TokenizeResult } from './tokenizer.ts'

/** What one backend's events have told so far. */
export type WatchedBackend = {
  readonly publisher: Publisher
  readonly held: HeldBlocks
  /** Tokens of a block as the engine says; 0 before it did. */
  blockTokens: number
  status: StreamStatus | null
  /** Every block that the engine holds is known. */
  complete: boolean
  /** Grows with every change worked in. */
  version: number
  /** The moment of the last change, of `nowMs`. */
  lastChangeMs: number
}

export type EventsLinkPorts = {
  readonly spawn: () => Pick<ChildProcess, 'on' | 'send' | 'disconnect' | 'ref' | 'unref' | 'channel'>
  readonly nowMs: () => number
  readonly after: (ms: number, task: () => void) => () => void
  /** The process ended, or ZeroMQ cannot be loaded; one phrase for people. */
  readonly onTrouble: (why: string) => void
  /** A stream connected, broke, or began or ended a replay. */
  readonly onChange?: (backend: number) => void
}

export class EventsLink {
  readonly counts = { starts: 0, records: 0 }
  readonly #ports: EventsLinkPorts
  readonly #watched = new Map<number, WatchedBackend>()
  readonly #jobs = new Map<number, (result: TokenizeResult) => void>()
  #process: ReturnType<EventsLinkPorts['spawn']> | null = null
  #nextJob = 1
  #pauseMs = FIRST_PAUSE_MS
  #cancelRestart = (): void => undefined
  /** Waiting to start it again; then all are watched at once. */
  #pausing = false
  #closed = false
  /** Why there are no events at all; null when there may be. */
  unavailable: string | null = null

  constructor(ports: EventsLinkPorts) {
    this.#ports = ports
  }

  watch(backend: number, publisher: Publisher): void {
    this.#watched.set(backend, {
      publisher,
      held: new HeldBlocks(MAX_BLOCKS),
      blockTokens: 0,
      status: null,
      complete: false,
      version: 0,
      lastChangeMs: Number.NEGATIVE_INFINITY,
    })
    this.#start()
    this.#post({ kind: 'watch', backend, publisher })
  }

  unwatch(backend: number): void {
    if (!this.#watched.delete(backend)) return
    this.#post({ kind: 'unwatch', backend })
  }

  /** Others saw that the engine is a new process. */
  restarted(backend: number): void {
    if (this.#watched.has(backend)) this.#post({ kind: 'restarted', backend })
  }

  of(backend: number): WatchedBackend | undefined {
    return this.#watched.get(backend)
  }

  get watched(): ReadonlyMap<number, WatchedBackend> {
    return this.#watched
  }

  tokenize(request: TokenizeRequest): Promise<TokenizeResult> {
    if (this.#process === null) return Promise.resolve({ states: null, tokens: 0, why: 'the events process is down' })
    const job = this.#nextJob++
    return new Promise((resolve) => {
      this.#jobs.set(job, resolve)
      this.#post({ kind: 'tokenize', job, request })
    })
  }

  /** The tokens of a turn, told by the blocks that its engine stored since. */
  observe(backend: number, observation: Observation): Promise<TokenizeResult> {
    if (this.#process === null) return Promise.resolve({ states: null, tokens: 0, why: 'the events process is down' })
    const job = this.#nextJob++
    return new Promise((resolve) => {
      this.#jobs.set(job, resolve)
      this.#post({ kind: 'observe', job, backend, observation })
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#cancelRestart()
    const child = this.#process
    this.#process = null
    this.#fail('the gateway ends')
    if (child === null) return
    const ended = new Promise<void>((resolve) => child.on('exit', () => resolve()))
    child.ref()
    child.disconnect()
    await ended
  }

  #start(): void {
    if (this.#process !== null || this.#pausing || this.#closed) return
    const child = this.#ports.spawn()
    this.#process = child
    this.counts.starts++
    child.on('message', (message: FromEvents) => {
      if (this.#process === child) this.#take(message)
    })
    child.on('error', (error: Error) => this.#ended(child, error.message))
    child.on('exit', (code, signal) => this.#ended(child, `it ended with ${code === null ? signal : `code ${code}`}`))
    // Neither the child nor its channel keeps the gateway alive.
    child.unref()
    child.channel?.unref()
  }

  #ended(child: unknown, why: string): void {
    if (this.#process !== child) return
    this.#process = null
    this.#fail('the events process ended')
    for (const watched of this.#watched.values()) forget(watched)
    if (this.#closed) return
    this.#ports.onTrouble(`the events process ended: ${why}`)
    this.#pausing = true
    this.#cancelRestart = this.#ports.after(this.#pauseMs, () => {
      this.#pausing = false
      if (this.#watched.size === 0) return
      this.#start()
      for (const [backend, { publisher }] of this.#watched) this.#post({ kind: 'watch', backend, publisher })
    })
    this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS)
  }

  #fail(why: string): void {
    for (const settle of this.#jobs.values()) settle({ states: null, tokens: 0, why })
    this.#jobs.clear()
  }

  #take(message: FromEvents): void {
    switch (message.kind) {
      case 'changes': {
        const watched = this.#watched.get(message.backend)
        if (watched !== undefined) {
          watched.blockTokens = message.blockTokens
          workIn(watched, message.records)
          watched.lastChangeMs = this.#ports.nowMs()
        }
        this.counts.records += message.records.length / WORDS_A_RECORD
        this.#post({ kind: 'taken' })
        return
      }
      case 'status': {
        const watched = this.#watched.get(message.backend)
        if (watched === undefined) return
        const { status: before } = watched
        const { status } = message
        watched.status = { ...status, lagMs: status.lagMs ?? before?.lagMs ?? null }
        const changed = before?.connected !== status.connected || before.replaying !== status.replaying
        if (changed) {
          watched.version++
          this.#ports.onChange?.(message.backend)
        }
        this.#pauseMs = FIRST_PAUSE_MS
        return
      }
      case 'tokens':
        this.#jobs.get(message.job)?.({ states: message.states, tokens: message.tokens, why: message.why })
        this.#jobs.delete(message.job)
        return
      case 'unavailable':
        this.unavailable = message.why
        this.#ports.onTrouble(`ZeroMQ cannot be loaded: ${message.why}`)
        return
    }
  }

  #post(message: ToEvents): void {
    this.#process?.send(message)
  }
}

/** About 0.1 us a record. */
export function workIn(watched: Pick<WatchedBackend, 'held' | 'complete' | 'version'>, records: Uint32Array): void {
  const { held } = watched
  for (let at = 0; at < records.length; at += WORDS_A_RECORD) {
    const what = records[at + 2]!
    if (what >= CHANGE.allGone) {
      held.clear()
      watched.complete = records[at] === 1
    } else if (what >= CHANGE.gone) held.release(records[at]!, records[at + 1]!, (what - CHANGE.gone) as Tier)
    else held.hold(records[at]!, records[at + 1]!, what as Tier)
  }
  watched.version++
}

function forget(watched: WatchedBackend): void {
  watched.held.clear()
  watched.status = null
  watched.complete = false
  watched.version++
}

/** What the child runs, beside this file. */
export const EVENTS_PROCESS = new URL('./events-process.js', import.meta.url)

/** As in the events process. */
const MAX_BLOCKS = 2 ** 20
const FIRST_PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 60_000
