/**
 * Obtains the tokens of answered conversations, off the hot path: after an answer the engine that gave it is asked for the
 * token ids of the whole conversation as its template renders it, and of the head alone once. One question at a time and
 * backend, the newest first, and never more than a fifth of the engine's time: its tokeniser also serves requests.
 *
 * Where an engine does not answer that (some tokenise plain text only), or is not to be asked (`observe`), the tokens are
 * taken from the blocks that it stored for the turn (run-log.ts); these know no heads, and nothing where turns look alike.
 *
 * A conversation is asked about again when more than `STALE_SHARE` of it is new, so what it costs stays proportional to
 * what it says; between two questions history speaks for the tail.
 */
import type { Backend } from '../../model/backend.ts'
import type { BlockChain } from '../../model/turn.ts'
import type { TokenizeRequest } from './messages.ts'
import type { Observation } from './run-log.ts'
import type { TokenAnchor, TokenAnchors } from './token-anchors.ts'
import type { TokenizeResult } from './tokenizer.ts'

/** One text to be known as tokens. `body` is made when its time comes: bodies are large and most wait. */
export type TokenQuestion = {
  readonly chain: BlockChain
  readonly model: string
  readonly backend: Backend
  readonly salt: string | null
  /** Null: it cannot be told to this engine. */
  readonly body: () => string | null
  /** What the answer said of itself; null for what is no turn, or where the engine hides its cached tokens. */
  readonly seen: (Omit<Observation, 'ageMs'> & { readonly dispatchedAtMs: number }) | null
  /** Runs with the anchor when the tokens are known. */
  readonly known: (anchor: TokenAnchor) => void
}

export type TokenSourcePorts = {
  readonly anchors: TokenAnchors
  readonly tokenize: (request: TokenizeRequest) => Promise<TokenizeResult>
  readonly observe: (backend: number, observation: Observation) => Promise<TokenizeResult>
  readonly nowMs: () => number
  readonly after: (ms: number, task: () => void) => () => void
}

export class TokenSource {
  readonly counts = { asked: 0, observed: 0, known: 0, fresh: 0, dropped: 0, failed: 0, unsupported: 0 }
  readonly #ports: TokenSourcePorts
  readonly #lines = new Map<number, Line>()

  constructor(ports: TokenSourcePorts) {
    this.#ports = ports
  }

  ask(question: TokenQuestion): void {
    const { chain, backend } = question
    const way = backend.config.kvEvents?.tokenize ?? 'off'
    if (chain.length === 0 || way === 'off') return
    const known = this.#ports.anchors.find(chain)
    if (known !== null && chain.totalCharacters - known.characters <= STALE_SHARE * chain.totalCharacters) {
      this.counts.fresh++
      return
    }
    const line = this.#line(backend.index)
    if (way === 'observe' || this.#ports.nowMs() < line.notBeforeMs) return this.#observe(question)
    line.waiting.push(question)
    if (line.waiting.length > MAX_WAITING) {
      line.waiting.shift()
      this.counts.dropped++
    }
    this.#next(line)
  }

  /** The backend is gone or another process. */
  forget(backend: number): void {
    const line = this.#lines.get(backend)
    if (line === undefined) return
    this.counts.dropped += line.waiting.length
    line.waiting.length = 0
    this.#lines.delete(backend)
  }

  #observe(question: TokenQuestion): void {
    const { after, observe, nowMs } = this.#ports
    const { seen, backend, model } = question
    if (seen === null) {
      this.counts.unsupported++
      return
    }
    // The events of an answer's last blocks come about when the answer does.
    after(OBSERVE_AFTER_MS, () => {
      const { dispatchedAtMs, ...counts } = seen
      this.counts.observed++
      observe(backend.index, { ageMs: nowMs() - dispatchedAtMs, ...counts })
        .then(({ states, tokens }) => {
          const served = backend.models.get(model)?.served
          if (states === null || served === undefined) this.counts.failed++
          else this.#know(question, served, tokens, states)
        })
        .catch(() => this.counts.failed++)
    })
  }

  #know(question: TokenQuestion, served: string, tokens: number, states: Uint32Array): void {
    // No text has no tokens: an engine that says so did not understand the question.
    if (tokens === 0) {
      this.counts.failed++
      return
    }
    this.counts.known++
    const anchor = this.#ports.anchors.add(question.chain, { model: question.model, served, tokens, states })
    if (anchor !== null) question.known(anchor)
  }

  #next(line: Line): void {
    if (line.busy) return
    const question = line.waiting.pop()
    if (question === undefined) return
    line.busy = true
    // Not in the turn's own step: rendering and writing a long conversation takes a millisecond.
    this.#ports.after(0, () => void this.#run(line, question))
  }

  /** Whatever goes wrong with one question, rendering it included, is a failure of that one: the line goes on. */
  async #run(line: Line, question: TokenQuestion): Promise<void> {
    let tookMs = 0
    try {
      tookMs = await this.#put(line, question)
    } catch {
      this.counts.failed++
    }
    this.#ports.after(REST_FACTOR * tookMs, () => {
      line.busy = false
      this.#next(line)
    })
  }

  /** How long the engine took, milliseconds. */
  async #put(line: Line, question: TokenQuestion): Promise<number> {
    const { tokenize, nowMs } = this.#ports
    const { backend, model, salt } = question
    const { config } = backend
    const served = backend.models.get(model)?.served
    const body = served === undefined ? null : question.body()
    if (served === undefined || body === null) {
      this.counts.failed++
      return 0
    }
    this.counts.asked++
    const startedMs = nowMs()
    const { states, tokens, why } = await tokenize({
      url: `${config.url}/tokenize`,
      headers: config.key === null ? config.headers : { ...config.headers, authorization: `Bearer ${config.key}` },
      ca: config.ca,
      body,
      salt,
      timeoutMs: TIMEOUT_MS,
    })
    const tookMs = nowMs() - startedMs
    if (states !== null) this.#know(question, served, tokens, states)
    else {
      this.counts.failed++
      if (why !== null && UNSUPPORTED.has(why)) {
        line.notBeforeMs = nowMs() + UNSUPPORTED_MS
        this.#observe(question)
      }
    }
    return tookMs
  }

  #line(backend: number): Line {
    let line = this.#lines.get(backend)
    if (line === undefined) {
      line = { waiting: [], busy: false, notBeforeMs: Number.NEGATIVE_INFINITY }
      this.#lines.set(backend, line)
    }
    return line
  }
}

type Line = { readonly waiting: TokenQuestion[]; busy: boolean; notBeforeMs: number }

/** A question holds a turn's text; older ones are worth least. */
const MAX_WAITING = 32
/** A tail of 2 % of the prompt is below the error that history alone has. */
const STALE_SHARE = 0.02
const TIMEOUT_MS = 10_000
/** Asking takes at most a fifth of the time. */
const REST_FACTOR = 4
const OBSERVE_AFTER_MS = 100
/** No such route, or not for messages. */
const UNSUPPORTED = new Set(['400', '404', '405', '422', '501'])
/** An engine without the route is asked again after this: it may have been replaced. */
const UNSUPPORTED_MS = 10 * 60_000
