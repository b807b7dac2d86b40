/**
 * The fleet as it is now: which backends there are, what they offer, whether turns may be sent to them. Each backend is
 * probed every 5 s (every second while it is in trouble, both with jitter), off the path of turns; dispatch reports how
 * turns went. A backend that comes back as another process is reported as restarted: its KV cache is empty.
 */
import type { Backend, BackendConfig } from '../model/backend.ts'
import { Circuit } from './circuit.ts'
import type { DispatchResult } from './circuit.ts'
import { LiveBackend } from './live-backend.ts'
import { probeBackend } from './probe.ts'
import type { Description, ProbeResult } from './probe.ts'
import type { ProbeGet } from './probe-get.ts'
import type { After } from './timers.ts'

export type { DispatchResult } from './circuit.ts'

export type BackendChange = {
  readonly kind: 'added' | 'removed' | 'drained' | 'resumed' | 'healthy' | 'unhealthy' | 'described' | 'restarted'
  readonly backend: Backend
  /** One phrase for people; null where the kind says it all. */
  readonly why: string | null
}

export type RegistryOptions = {
  readonly get: ProbeGet
  /** Monotonic. */
  readonly nowMs: () => number
  readonly after: After
  /** 0 <= x < 1. */
  readonly random: () => number
  readonly probeEveryMs?: number
  readonly probeTroubledEveryMs?: number
}

type Entry = {
  readonly backend: LiveBackend
  readonly circuit: Circuit
  description: Description | null
  describedAtMs: number
  /** Nothing listened there since the last good probe: what comes back is another process. */
  refused: boolean
  restartedAtMs: number
  probing: Promise<void> | null
  cancelTimer: () => void
}

const PROBE_EVERY_MS = 5000
const PROBE_TROUBLED_EVERY_MS = 1000
/** How often everything is asked again, not only whether it lives. */
const DESCRIBE_EVERY_MS = 60_000
/** Two signs of one restart (a probe's and a metric's) come within this time. */
const SAME_RESTART_MS = 30_000
const MAX_BACKENDS = 1024

export class BackendRegistry {
  /** Every backend that was there at `start` has been probed once, whatever came of it. */
  readonly firstProbeDone: Promise<void>
  readonly #options: RegistryOptions
  readonly #entries = new Map<string, Entry>()
  readonly #listeners = new Set<(change: BackendChange) => void>()
  #list: readonly Backend[] = []
  #nextIndex = 0
  #running = false
  #firstProbeDone: () => void = () => undefined

  constructor(options: RegistryOptions) {
    this.#options = options
    this.firstProbeDone = new Promise((resolve) => {
      this.#firstProbeDone = resolve
    })
  }

  /** In the order of their index. The same array until a backend comes or goes. */
  list(): readonly Backend[] {
    return this.#list
  }

  get(id: string): Backend | undefined {
    return this.#entries.get(id)?.backend
  }

  /** The new backend, or why it cannot be added. */
  add(config: BackendConfig): { readonly backend: Backend } | { readonly problem: string } {
    if (this.#entries.has(config.id)) return { problem: `There is already a backend '${config.id}'.` }
    for (const { id, config: other } of this.#list) {
      if (other.url === config.url) return { problem: `Backend '${id}' already has the url ${config.url}.` }
    }
    if (this.#entries.size >= MAX_BACKENDS) return { problem: `There are already ${MAX_BACKENDS} backends.` }
    const backend = new LiveBackend(config, this.#nextIndex++)
    const entry: Entry = {
      backend,
      circuit: new Circuit(this.#options.nowMs),
      description: null,
      describedAtMs: 0,
      refused: false,
      restartedAtMs: Number.NEGATIVE_INFINITY,
      probing: null,
      cancelTimer: () => undefined,
    }
    this.#entries.set(config.id, entry)
    this.#list = [...this.#list, backend]
    this.#tell('added', backend, null)
    if (this.#running) this.#probeSoon(entry)
    return { backend }
  }

  /** Turns that run there go on; its id and url may be used again. False when there is none. */
  remove(id: string): boolean {
    const entry = this.#entries.get(id)
    if (entry === undefined) return false
    entry.cancelTimer()
    this.#entries.delete(id)
    this.#list = this.#list.filter((backend) => backend !== entry.backend)
    entry.backend.healthy = false
    entry.backend.trouble = 'removed'
    this.#tell('removed', entry.backend, null)
    return true
  }

  /** A drained backend takes no turns; those that run there finish. False when there is none. */
  drain(id: string, on: boolean): boolean {
    const backend = this.#entries.get(id)?.backend
    if (backend === undefined) return false
    if (backend.draining !== on) {
      backend.draining = on
      this.#tell(on ? 'drained' : 'resumed', backend, null)
    }
    return true
  }

  /** How a turn went at a backend. `why` is one phrase for people. */
  report(backend: Backend, result: DispatchResult, why: string = TURN_TROUBLE[result]): void {
    const entry = this.#entryOf(backend)
    if (entry === undefined) return
    const before = entry.circuit.state
    entry.circuit.report(result, why)
    if (entry.circuit.state === before) return
    this.#refresh(entry)
    if (!entry.circuit.admits) this.#probeLater(entry)
  }

  /** Something outside the probes (a counter that fell) shows that the engine is a new process. */
  noteRestart(backend: Backend, why: string): void {
    const entry = this.#entryOf(backend)
    if (entry === undefined) return
    const nowMs = this.#options.nowMs()
    const known = nowMs - entry.restartedAtMs < SAME_RESTART_MS
    entry.restartedAtMs = nowMs
    entry.describedAtMs = Number.NEGATIVE_INFINITY
    if (!known) this.#tell('restarted', backend, why)
  }

  /** Returns a function that ends it. Listeners run at once and must not throw. */
  onChange(listener: (change: BackendChange) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  onRestart(listener: (backend: Backend) => void): () => void {
    return this.onChange((change) => {
      if (change.kind === 'restarted') listener(change.backend)
    })
  }

  /** Begins to probe. */
  start(): void {
    if (this.#running) return
    this.#running = true
    const first = [...this.#entries.values()].map((entry) => this.#probeSoon(entry))
    void Promise.all(first).then(() => this.#firstProbeDone())
  }

  close(): void {
    this.#running = false
    for (const entry of this.#entries.values()) entry.cancelTimer()
  }

  /** Probes one backend now, or joins the probe that runs. */
  async probe(id: string): Promise<void> {
    const entry = this.#entries.get(id)
    if (entry !== undefined) await this.#probeSoon(entry)
  }

  #probeSoon(entry: Entry): Promise<void> {
    entry.cancelTimer()
    entry.probing ??= this.#probe(entry).finally(() => {
      entry.probing = null
      this.#probeLater(entry)
    })
    return entry.probing
  }

  #probeLater(entry: Entry): void {
    if (!this.#running || entry.probing !== null || this.#entryOf(entry.backend) === undefined) return
    const { probeEveryMs = PROBE_EVERY_MS, probeTroubledEveryMs = PROBE_TROUBLED_EVERY_MS } = this.#options
    const everyMs = entry.backend.healthy ? probeEveryMs : probeTroubledEveryMs
    entry.cancelTimer()
    const delayMs = everyMs * (0.8 + 0.4 * this.#options.random())
    entry.cancelTimer = this.#options.after(delayMs, () => void this.#probeSoon(entry))
  }

  async #probe(entry: Entry): Promise<void> {
    const { get, nowMs } = this.#options
    const stale = nowMs() - entry.describedAtMs >= DESCRIBE_EVERY_MS || !entry.backend.healthy
    const result = await probeBackend(get, entry.backend.config, stale ? null : entry.description)
    if (this.#entryOf(entry.backend) === undefined) return
    entry.backend.probed = true
    if (!result.ok) this.#failed(entry, result)
    else {
      if (stale) entry.describedAtMs = nowMs()
      this.#answered(entry, result.description)
    }
    this.#refresh(entry)
  }

  #failed(entry: Entry, result: ProbeResult & { ok: false }): void {
    if (result.kind === 'refused') entry.refused = true
    // Before the first good probe there is nothing to be patient for.
    const atOnce = result.kind === 'refused' || result.kind === 'answer' || entry.description === null
    entry.circuit.probeFailed(result.why, atOnce)
  }

  #answered(entry: Entry, now: Description): void {
    const before = entry.description
    const { refused } = entry
    entry.description = now
    entry.refused = false
    entry.circuit.probeOk()
    const { backend } = entry
    backend.engine = now.facts.engine
    backend.protocols = now.protocols
    backend.models = now.models
    backend.vision = now.facts.vision
    backend.slots = now.facts.slots
    backend.cacheCapacityTokens = now.facts.cacheCapacityTokens
    if (before === null || summary(before) !== summary(now)) this.#tell('described', backend, summary(now))
    const restarted = before === null ? null : restartSign(before, now, refused)
    if (restarted !== null) this.noteRestart(backend, restarted)
  }

  /** What turns see follows from the description and the circuit. */
  #refresh(entry: Entry): void {
    const { backend, circuit, description } = entry
    const healthy = description !== null && circuit.admits
    backend.trouble = healthy ? null : (circuit.trouble ?? 'not probed yet')
    if (healthy === backend.healthy) return
    backend.healthy = healthy
    this.#tell(healthy ? 'healthy' : 'unhealthy', backend, backend.trouble)
  }

  /** Undefined for a backend that was removed, also when its id is in use again. */
  #entryOf(backend: Backend): Entry | undefined {
    const entry = this.#entries.get(backend.id)
    return entry?.backend === backend ? entry : undefined
  }

  #tell(kind: BackendChange['kind'], backend: Backend, why: string | null): void {
    for (const listener of this.#listeners) listener({ kind, backend, why })
  }
}

const TURN_TROUBLE: Readonly<Record<DispatchResult, string>> = {
  ok: '', connect: 'no connection', '5xx': 'it answered with a server error', timeout: 'no answer in time',
  reset: 'the connection broke',
}

/** Why the process that answers now cannot be the one that answered before; null when nothing says so. */
function restartSign(before: Description, now: Description, refused: boolean): string | null {
  if (before.facts.engine !== now.facts.engine) return `${before.facts.engine} before, ${now.facts.engine} now`
  const instances = [before.facts.instance, now.facts.instance]
  if (!instances.includes(null)) return instances[0] === instances[1] ? null : 'the engine is another process now'
  return refused ? 'nothing listened there for a while' : null
}

function summary({ facts, protocols, models, notes }: Description): string {
  const names = [...models.keys()]
  const shown = names.length > 5 ? `${names.slice(0, 5).join(', ')} and ${names.length - 5} more` : names.join(', ')
  const parts = [facts.engine, [...protocols].join(' and ') || 'no protocol', shown]
  if (facts.slots !== null) parts.push(`${facts.slots} slots`)
  return [...parts, ...notes].join('; ')
}
