export type Protocol = 'chat' | 'responses'
export type Engine = 'vllm' | 'sglang' | 'llamacpp' | 'ollama' | 'lmstudio' | 'homing-sim' | 'unknown'

/** One inference server as the operator declared it. Durations in milliseconds. */
export type BackendConfig = {
  readonly id: string
  /** Without a trailing slash and without `/v1`. */
  readonly url: string
  readonly protocol: Protocol | 'auto'
  readonly key: string | null
  readonly headers: Readonly<Record<string, string>>
  /** Public name -> served name; null: as served. */
  readonly models: Readonly<Record<string, string>> | null
  readonly contextTokens: number | null
  /** Prompt and expected answer tokens of all turns in flight there; null: no ceiling. */
  readonly maxInFlightTokens: number | null
  readonly timeouts: { readonly connectMs: number; readonly idleMs: number; readonly firstTokenMs: number | null }
  /** PEM text of an own certificate authority. */
  readonly ca: string | null
  /** What the engine may be told about keeping prefixes; left out: nothing. */
  readonly hints?: {
    readonly priority: boolean
    /** Key of the HMAC that makes a tenant's salt. */
    readonly cacheSaltKey: string | null
    readonly sessionHeader: string | null
  }
  /** Whether prefixes may be computed ahead there; `enabled` null: on engines that are run by whoever uses them. */
  readonly prewarm?: { readonly enabled: boolean | null; readonly tokensPerMinute: number }
  /** Where the engine publishes what its KV cache holds; left out where it does not. */
  readonly kvEvents?: KvEventsConfig
  /** Topic -> expected quality 0..1 of all models that it serves, before anything was learned. */
  readonly specialisesIn?: Readonly<Record<string, number>>
}

/** ZeroMQ addresses of an engine's KV events, and what its lower cache tiers are worth. */
export type KvEventsConfig = {
  readonly endpoint: string
  /** Where batches that were missed can be had; null: a gap costs the whole picture. */
  readonly replay: string | null
  readonly topic: string
  /** How token ids are obtained: `auto` asks the engine's `/tokenize`, `observe` takes them from its events alone. */
  readonly tokenize: 'auto' | 'observe' | 'off'
  /** Tokens per second at which host memory and a shared store hand blocks over. */
  readonly tiers: { readonly cpu: number; readonly store: number }
}

/** A model that a backend offers. */
export type ServedModel = {
  /** The name clients use. */
  readonly name: string
  /** The name the engine wants. */
  readonly served: string
  readonly contextTokens: number | null
}

/**
 * A backend as the router sees it now; one live object per backend, the same for its whole life.
 * `index` is a small dense number, never reused while the process lives: parallel arrays are indexed by it.
 */
export interface Backend {
  readonly id: string
  readonly index: number
  readonly config: BackendConfig
  readonly engine: Engine
  readonly protocols: ReadonlySet<Protocol>
  /** By public name. Empty until the first successful probe unless configured. */
  readonly models: ReadonlyMap<string, ServedModel>
  readonly vision: boolean | null
  /** Concurrent sequences the engine says it can run (llama.cpp `total_slots`), null where it does not tell. */
  readonly slots: number | null
  /** Tokens of KV cache the engine says it has, null where it does not tell. */
  readonly cacheCapacityTokens: number | null
  readonly healthy: boolean
  readonly draining: boolean
  readonly probed: boolean
  /** Why it is not healthy, in one phrase for people; null when it is. */
  readonly trouble: string | null
}
