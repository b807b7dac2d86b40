/**
 * Prefixes computed ahead of the turns that will want them: a generation of one token at the backend where the turn is
 * predicted to go.
 *
 *   wish -> (a backend is idle, its budget lasts, the rule pays) -> sent -> done      index learns the prefix
 *                                                                       -> cancelled  a turn came; index learns a part
 *
 * Lowest priority throughout: a wish is looked at only while no turn waits, it starts only where no turn is before its
 * first token, at most one runs at a backend, and the next turn that is sent there ends it first. It stands in no ledger:
 * to the scheduler its backend is free. An engine keeps the blocks it had computed until then, so what was done is not
 * lost; how much that is follows from the learned speed, and only `TRUSTED` of it is believed.
 *
 * Where a wish goes is the scheduler's own prediction for the turn that is to come (`rank`), made when a backend is free;
 * where the predicted backend is busy, the next in rank. A wish for what the predicted backend already holds is dropped
 * as needless. Budget: a bucket of `tokensPerMinute` per backend, filled within a minute; what was not computed is given
 * back. What it brings is counted in `PrewarmAccount`.
 *
 * Cost: a rank (4 to 70 us) per wish looked at, `LOOKED_AT` at most per change. At most `MAX_WISHES` wishes; the one whose
 * turn is expected last gives way.
 */
import type { Backend } from '../model/backend.ts'
import type { Decision, RankedBackend, SchedulingRequest } from '../model/decision.ts'
import { HomingError } from '../model/error.ts'
import { prefixOf, type BlockChain } from '../model/turn.ts'
import { PrewarmBudget } from './prewarm-budget.ts'
import { PREWARM_RULES, type PrewarmAccount, type PrewarmRule } from './prewarm-account.ts'

/** A prefix that a turn to come will want. `Prompt` is whatever the sender renders it from. */
export type Wish<Prompt> = {
  readonly rule: PrewarmRule
  /** Whose it is: a newer wish of the same key takes the place of the older. */
  readonly key: string
  /** The turn as it is expected; its chain is what is to be computed. */
  readonly request: SchedulingRequest
  readonly prompt: Prompt
  /** Only there, and although the index knows of nothing that is missing; null: where the turn is predicted to go. */
  readonly at: Backend | null
  /** When the turn is expected, and until when it is of use. */
  readonly expectedAtMs: number
  readonly untilMs: number
  /** Where it was interrupted, and how many tokens were computed there by then. */
  readonly begun?: { readonly backend: Backend; readonly tokens: number }
}

export type PrewarmResult = {
  readonly promptTokens: number
  /** Null where the engine hides it. */
  readonly cachedTokens: number | null
  readonly ttftMs: number
}

export type SendHandler = {
  readonly done: (result: PrewarmResult) => void
  readonly failed: () => void
}

export type PrewarmPorts<Prompt> = {
  /** Where such a turn would go now. Throws a HomingError where it can go nowhere. */
  readonly rank: (request: SchedulingRequest) => Decision
  readonly index: {
    insert(chain: BlockChain, backendIndex: number, options?: { readonly speculativeUntilMs?: number }): void
  }
  readonly ledger: {
    runningCount(backendIndex: number): number
    beforeFirstToken(backendIndex: number): number
    /** What runs there is no turn, nor others' work. Returns what ends it. */
    beside(backendIndex: number): (computedTokens: number) => void
  }
  readonly turnsWaiting: () => number
  /** Null: no pre-warming there. */
  readonly tokensPerMinute: (backend: Backend) => number | null
  readonly prefillSeconds: (uncachedTokens: number, backendIndex: number, model: string) => number
  /** Null: it cannot be said to this backend. The handler hears exactly one thing, or nothing after `cancel`. */
  readonly send: (wish: Wish<Prompt>, backend: Backend, handler: SendHandler) => { cancel(): void } | null
  /** One was answered: what may be learned from it. */
  readonly learn: (wish: Wish<Prompt>, backend: Backend, expectedCachedTokens: number, result: PrewarmResult) => void
  readonly nowMs: () => number
  readonly after: (ms: number, callback: () => void) => () => void
}

export type PrewarmCounts = Record<
  'sent' | 'done' | 'cancelled' | 'failed' | 'needless' | 'expired' | 'over_budget' | 'switched_off' | 'crowded_out',
  number
>

type Running<Prompt> = {
  readonly wish: Wish<Prompt>
  readonly backend: Backend
  readonly startedMs: number
  readonly expectedCachedTokens: number
  readonly expectedSeconds: number
  readonly budgeted: number
  readonly ended: (computedTokens: number) => void
  sent: { cancel(): void } | null
}

export class Prewarmer<Prompt> {
  readonly #ports: PrewarmPorts<Prompt>
  readonly #account: PrewarmAccount
  readonly #wishes = new Map<string, Wish<Prompt>>()
  readonly #running = new Map<number, Running<Prompt>>()
  readonly #budget: PrewarmBudget
  readonly #tooDear = new WeakSet<Wish<Prompt>>()
  readonly #pausedUntilMs = new Map<number, number>()
  readonly #counts = new Map(PREWARM_RULES.map((rule) => [rule, newCounts()]))
  #cancelTimer: (() => void) | null = null
  #pumping = false

  constructor(ports: PrewarmPorts<Prompt>, account: PrewarmAccount) {
    this.#ports = ports
    this.#account = account
    this.#budget = new PrewarmBudget(ports.nowMs)
  }

  wish(wish: Wish<Prompt>): void {
    if (!this.#account.isOn(wish.rule)) return this.#count(wish, 'switched_off')
    const begun = this.#wishes.get(wish.key)?.begun
    this.#wishes.delete(wish.key)
    this.#wishes.set(wish.key, begun === undefined ? wish : { ...wish, begun })
    if (this.#wishes.size > MAX_WISHES) {
      const last = this.#inOrder().at(-1)!
      this.#wishes.delete(last.key)
      this.#count(last, 'crowded_out')
    }
    // wishes come in groups; the first of a group is not always the most urgent
    this.#cancelTimer?.()
    this.#lookIn(0)
  }

  /** A turn is about to be sent to a backend: what runs there ahead of time ends, and so does what was meant for it. */
  turnBegins(key: string, backendIndex: number): void {
    this.#wishes.delete(key)
    const running = this.#running.get(backendIndex)
    if (running !== undefined) this.#cancel(running, running.wish.key !== key)
    for (const other of this.#running.values()) if (other.wish.key === key) this.#cancel(other, false)
  }

  /** A turn had its first token or ended: a backend may be idle now. */
  turnMoved(): void {
    if (this.#wishes.size > 0) this.#pump()
  }

  /** The backend takes no turns any more, or lost its cache. */
  lost(backendIndex: number): void {
    const running = this.#running.get(backendIndex)
    if (running === undefined) return
    this.#running.delete(backendIndex)
    running.sent?.cancel()
    this.#settle(running, 0)
    this.#count(running.wish, 'cancelled')
    if (!this.#wishes.has(running.wish.key)) this.#wishes.set(running.wish.key, running.wish)
    this.#pump()
  }

  close(): void {
    this.#cancelTimer?.()
    this.#wishes.clear()
    for (const { sent } of this.#running.values()) sent?.cancel()
    this.#running.clear()
  }

  get wishes(): number {
    return this.#wishes.size
  }

  get running(): readonly { readonly backendId: string; readonly rule: PrewarmRule; readonly tokens: number }[] {
    return [...this.#running.values()].map(({ backend, wish, budgeted }) => ({
      backendId: backend.id,
      rule: wish.rule,
      tokens: Math.round(budgeted),
    }))
  }

  get counts(): ReadonlyMap<PrewarmRule, Readonly<PrewarmCounts>> {
    return this.#counts
  }

  #inOrder(): Wish<Prompt>[] {
    return [...this.#wishes.values()].sort((one, other) => one.expectedAtMs - other.expectedAtMs)
  }

  #pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    this.#note()
    if (this.#wishes.size > 0 && this.#ports.turnsWaiting() === 0) this.#startSome()
    this.#pumping = false
    if (this.#cancelTimer === null && this.#wishes.size + this.#running.size > 0) this.#lookIn(LOOK_MS)
  }

  #lookIn(ms: number): void {
    this.#cancelTimer = this.#ports.after(ms, () => {
      this.#cancelTimer = null
      this.#pump()
    })
  }

  #startSome(): void {
    const now = this.#ports.nowMs()
    let looked = 0
    for (const wish of this.#inOrder()) {
      if (wish.untilMs < now) {
        this.#wishes.delete(wish.key)
        this.#count(wish, 'expired')
      } else if (this.#isRunning(wish.key)) continue
      else if (++looked > LOOKED_AT) return
      else this.#consider(wish, now)
    }
  }

  /** A longer prefix of the same conversation goes on from what runs. */
  #isRunning(key: string): boolean {
    for (const { wish } of this.#running.values()) if (wish.key === key) return true
    return false
  }

  #consider(wish: Wish<Prompt>, now: number): void {
    let decision
    try {
      decision = this.#ports.rank(wish.request)
    } catch (error) {
      if (!(error instanceof HomingError)) throw error
      return // nobody may serve it now; it is looked at again until its time is over
    }
    const ranked = wish.at === null ? decision.ranked : decision.ranked.filter(({ backend }) => backend === wish.at)
    const { promptTokens, model } = wish.request
    const missingAt = ({ backend, expectedCachedTokens }: RankedBackend): number => {
      if (wish.at !== null) return promptTokens
      const missing = promptTokens - expectedCachedTokens
      return wish.begun?.backend === backend ? Math.min(missing, promptTokens - wish.begun.tokens) : missing
    }
    if (ranked[0] === undefined) return
    const { prefillSeconds } = this.#ports
    const isLittle = (missing: number, b: number): boolean =>
      missing < LEAST_TOKENS || prefillSeconds(missing, b, model) - prefillSeconds(0, b, model) < LEAST_SECONDS
    if (isLittle(missingAt(ranked[0]), ranked[0].backend.index)) {
      this.#wishes.delete(wish.key)
      return this.#count(wish, 'needless')
    }
    // begun at a backend that is busy now: going on there later costs less than beginning elsewhere
    const begun = ranked.find(({ backend }) => backend === wish.begun?.backend)
    const most = begun === undefined ? Infinity : LEAST_TOKENS + AGAIN * missingAt(begun)
    for (const choice of ranked) {
      const { backend } = choice
      const missing = missingAt(choice)
      if (isLittle(missing, backend.index) || missing > most || !this.#isIdle(backend, now)) continue
      if (!this.#budget.take(backend.index, missing, this.#ports.tokensPerMinute(backend) ?? 0)) {
        if (!this.#tooDear.has(wish)) this.#count(wish, 'over_budget')
        this.#tooDear.add(wish)
        continue
      }
      const seconds = prefillSeconds(missing, backend.index, model)
      return this.#start(wish, backend, promptTokens - missing, missing, seconds)
    }
  }

  #start(wish: Wish<Prompt>, backend: Backend, expectedCachedTokens: number, missing: number, seconds: number): void {
    this.#wishes.delete(wish.key)
    const running: Running<Prompt> = {
      wish,
      backend,
      startedMs: this.#ports.nowMs(),
      expectedCachedTokens,
      expectedSeconds: seconds,
      budgeted: missing,
      ended: this.#ports.ledger.beside(backend.index),
      sent: null,
    }
    this.#running.set(backend.index, running)
    running.sent = this.#ports.send(wish, backend, {
      done: (result) => this.#done(running, result),
      failed: () => this.#failed(running),
    })
    if (running.sent !== null) return this.#count(wish, 'sent')
    // it cannot be said to this backend, which is no fault of the backend
    this.#running.delete(backend.index)
    this.#settle(running, 0)
    this.#count(wish, 'failed')
  }

  #done(running: Running<Prompt>, result: PrewarmResult): void {
    const { wish, backend, expectedCachedTokens } = running
    if (this.#running.get(backend.index) !== running) return
    this.#running.delete(backend.index)
    this.#count(wish, 'done')
    const computedTokens = Math.max(0, result.promptTokens - (result.cachedTokens ?? expectedCachedTokens))
    this.#settle(running, computedTokens)
    // what sessions share is cut where a message ends, which may be a little before it
    const share = wish.rule === 'shared' ? Math.min(1, result.promptTokens / wish.request.promptTokens) : 1
    const chain = prefixOf(wish.request.chain, Math.floor(share * wish.request.chain.length))
    this.#ports.index.insert(chain, backend.index)
    this.#ports.learn(wish, backend, expectedCachedTokens, result)
    this.#book(running, chain, result.promptTokens, computedTokens)
    this.#pump()
  }

  #failed(running: Running<Prompt>): void {
    const { wish, backend } = running
    if (this.#running.get(backend.index) !== running) return
    this.#running.delete(backend.index)
    this.#count(wish, 'failed')
    this.#pausedUntilMs.set(backend.index, this.#ports.nowMs() + PAUSE_MS)
    this.#settle(running, 0)
    this.#pump()
  }

  /** `again`: the wish stands; its rest may be computed later. */
  #cancel(running: Running<Prompt>, again: boolean): void {
    const { wish, backend, expectedCachedTokens } = running
    this.#running.delete(backend.index)
    running.sent?.cancel()
    this.#count(wish, 'cancelled')
    const done = TRUSTED * this.#share(running)
    const computed = done * (wish.request.promptTokens - expectedCachedTokens)
    this.#settle(running, computed)
    const part = this.#part(running, done)
    if (part.length > 0) this.#believe(part, backend)
    this.#book(running, part, part.length === 0 ? 0 : expectedCachedTokens + computed, computed)
    if (again && wish.untilMs > this.#ports.nowMs() && !this.#wishes.has(wish.key))
      this.#wishes.set(wish.key, { ...wish, begun: { backend, tokens: expectedCachedTokens + computed } })
  }

  /** What runs is believed to be there as far as it must have come, so that its own turn is sent after it. */
  #note(): void {
    for (const running of this.#running.values()) {
      const part = this.#part(running, TRUSTED * this.#share(running))
      if (part.length > 0) this.#believe(part, running.backend)
    }
  }

  #believe(part: BlockChain, backend: Backend): void {
    this.#ports.index.insert(part, backend.index, { speculativeUntilMs: this.#ports.nowMs() + PARTIAL_LIFE_MS })
  }

  /** Of the expected time, the part that has passed. */
  #share({ startedMs, expectedSeconds }: Running<Prompt>): number {
    return Math.min(1, (this.#ports.nowMs() - startedMs) / 1000 / Math.max(1e-6, expectedSeconds))
  }

  /** The chain as far as it is computed; empty below `LEAST_SHARE`, where an error could look like a lost cache. */
  #part({ wish, expectedCachedTokens }: Running<Prompt>, done: number): BlockChain {
    const { chain, promptTokens } = wish.request
    if (wish.at !== null) return prefixOf(chain, 0)
    const share = (expectedCachedTokens + done * (promptTokens - expectedCachedTokens)) / Math.max(1, promptTokens)
    return prefixOf(chain, share < LEAST_SHARE ? 0 : Math.floor(share * chain.length))
  }

  #book({ wish, backend }: Running<Prompt>, chain: BlockChain, promptTokens: number, computedTokens: number): void {
    const { rule, request } = wish
    const { key } = wish
    const { model } = request
    this.#account.warmed({ rule, key, backendIndex: backend.index, model, chain, promptTokens, computedTokens })
  }

  #isIdle(backend: Backend, now: number): boolean {
    const { ledger, tokensPerMinute } = this.#ports
    if (this.#running.has(backend.index) || (this.#pausedUntilMs.get(backend.index) ?? 0) > now) return false
    if (!backend.healthy || backend.draining || tokensPerMinute(backend) === null) return false
    const running = ledger.runningCount(backend.index)
    // the last free slot is kept for a turn
    if (backend.slots !== null && running > 0 && running + 1 >= backend.slots) return false
    return ledger.beforeFirstToken(backend.index) === 0
  }

  /** It is over: what it did not compute is given back. */
  #settle({ backend, budgeted, ended }: Running<Prompt>, computedTokens: number): void {
    ended(computedTokens)
    this.#budget.giveBack(backend.index, budgeted - computedTokens)
  }

  #count({ rule }: Wish<Prompt>, what: keyof PrewarmCounts): void {
    this.#counts.get(rule)![what]++
  }
}

const newCounts = (): PrewarmCounts => ({
  sent: 0, done: 0, cancelled: 0, failed: 0, needless: 0, expired: 0, over_budget: 0, switched_off: 0, crowded_out: 0,
})

/** Less costs an engine no more than the request itself: a network round trip and a step of decoding. */
const LEAST_SECONDS = 0.03
/** One block of most engines is 16 to 64 tokens, and one of the index about 32. */
const LEAST_TOKENS = 64
/** Computing up to so many times of what is missing where it was begun is better than waiting for that backend. */
const AGAIN = 1.1
const MAX_WISHES = 256
const LOOKED_AT = 16
/** Between changes: wishes expire, budgets fill, progress is noted. */
const LOOK_MS = 250
/** Of the progress that the learned speed predicts. Predictions are usually within a tenth; engines name whole blocks. */
const TRUSTED = 0.8
const LEAST_SHARE = 0.25
const PARTIAL_LIFE_MS = 60_000
/** After a failure: a backend that refuses one will refuse the next. */
const PAUSE_MS = 60_000
