/**
 * The KV events of one simulated engine over ZeroMQ, as vLLM publishes them: PUB with [topic, seq, msgpack], ROUTER that
 * replays what is asked for. What the cache stores and evicts within a step leaves as one batch, after `delayMs`. A
 * restarted engine begins its sequence anew and forgets its buffer, as a new process does.
 */
import { encode } from '@msgpack/msgpack'
import type * as zeromq from 'zeromq'
import type { Publisher, Router } from 'zeromq'
import type { BlockCache } from '../engine/block-cache.ts'
import { tokenIdAt } from '../prompt.ts'

export type KvPublisherOptions = {
  readonly zeromq: typeof zeromq
  readonly cache: BlockCache
  readonly blockTokens: number
  readonly host: string
  /** Events; the replay is on the next one. 0: any free ports. */
  readonly port: number
  readonly delayMs: number
  readonly nowSeconds: () => number
}

export type KvEndpoints = { readonly endpoint: string; readonly replay: string }

/** Where a block's tokens stand: block `index` of `text`. */
type Named = { readonly text: string; readonly index: number; readonly parent: number | null }
type Event = Readonly<Record<string, unknown>>
/** `wasThere`: before the batch; `stored`: what it is now, null when it is gone. */
type Change = { readonly wasThere: boolean; stored: Named | null }

export class KvPublisher {
  readonly #options: KvPublisherOptions
  readonly #publisher: Publisher
  readonly #router: Router
  /** What blocks that may be stored soon consist of; the oldest go. */
  readonly #named = new Map<number, Named>()
  /** What the cache holds and was told: an unfinished block has no name that engines would publish. */
  readonly #published = new Set<number>()
  readonly #buffer: { readonly seq: number; readonly payload: Uint8Array }[] = []
  /** What became of each block since the last batch. */
  readonly #pending = new Map<number, Change>()
  #seq = 0
  #flushing = false
  #sending: Promise<void> = Promise.resolve()
  #epoch = 0

  constructor(options: KvPublisherOptions) {
    this.#options = options
    this.#publisher = new options.zeromq.Publisher({ sendHighWaterMark: 100_000, linger: 0 })
    this.#router = new options.zeromq.Router({ sendHighWaterMark: 0, linger: 0 })
    options.cache.listener = {
      stored: (id) => this.#stored(id),
      evicted: (id) => this.#evicted(id),
      cleared: () => this.#restarted(),
    }
  }

  async listen(): Promise<KvEndpoints> {
    const { host, port } = this.#options
    await this.#publisher.bind(`tcp://${host}:${port === 0 ? '*' : port}`)
    await this.#router.bind(`tcp://${host}:${port === 0 ? '*' : port + 1}`)
    void this.#serveReplay()
    return { endpoint: this.#publisher.lastEndpoint!, replay: this.#router.lastEndpoint! }
  }

  /** Blocks that a job with this text may store: `ids[i]` is block i. */
  announce(text: string, ids: ArrayLike<number>): void {
    for (let index = 0; index < ids.length; index++) {
      const id = ids[index]!
      this.#named.delete(id)
      this.#named.set(id, { text, index, parent: index === 0 ? null : ids[index - 1]! })
    }
    while (this.#named.size > MAX_NAMED) this.#named.delete(this.#named.keys().next().value!)
  }

  /** Sends a batch of any bytes, well-formed or not, with the next sequence number; for tests. */
  publishRaw(payload: Uint8Array): void {
    this.#publish(payload)
  }

  /** Leaves a gap: the next `batches` are only in the buffer of the replay; for tests. */
  skip = 0

  close(): void {
    this.#epoch++
    this.#publisher.close()
    this.#router.close()
  }

  #stored(id: number): void {
    const named = this.#named.get(id)
    if (named === undefined) return
    const change = this.#pending.get(id)
    if (change === undefined) this.#pending.set(id, { wasThere: false, stored: named })
    else change.stored = named
    this.#soon()
  }

  #evicted(id: number): void {
    const change = this.#pending.get(id)
    if (change === undefined && !this.#published.has(id)) return
    if (change === undefined) this.#pending.set(id, { wasThere: true, stored: null })
    else change.stored = null
    this.#soon()
  }

  #soon(): void {
    if (this.#flushing) return
    this.#flushing = true
    const epoch = this.#epoch
    const flush = (): void => {
      this.#flushing = false
      if (epoch === this.#epoch) this.#flush()
    }
    if (this.#options.delayMs > 0) setTimeout(flush, this.#options.delayMs)
    else setImmediate(flush)
  }

  /** Removals, then what was stored, parents before their children: the simulated cache files a chain from its end. */
  #flush(): void {
    const events: Event[] = []
    const stored: [id: number, named: Named][] = []
    for (const [id, change] of this.#pending) {
      if (change.stored === null) this.#published.delete(id)
      else this.#published.add(id)
      if (change.wasThere) events.push({ type: 'BlockRemoved', block_hashes: [id], medium: 'GPU', group_idx: 0 })
      if (change.stored !== null) stored.push([id, change.stored])
    }
    this.#pending.clear()
    stored.sort(([, one], [, other]) => one.index - other.index)
    for (const [id, named] of stored) events.push(this.#storedEvent(id, named))
    if (events.length > 0) this.#publish(encode([this.#options.nowSeconds(), events, 0]))
  }

  #storedEvent(id: number, named: Named): Event {
    const { blockTokens } = this.#options
    return {
      type: 'BlockStored',
      block_hashes: [id],
      parent_block_hash: named.parent,
      token_ids: Array.from({ length: blockTokens }, (_, at) => tokenIdAt(named.text, named.index * blockTokens + at)),
      block_size: blockTokens,
      lora_id: null,
      medium: 'GPU',
      lora_name: null,
      group_idx: 0,
      kv_cache_spec_kind: 'full_attention',
    }
  }

  #publish(payload: Uint8Array): void {
    const seq = this.#seq++
    this.#buffer.push({ seq, payload })
    if (this.#buffer.length > BUFFERED_BATCHES) this.#buffer.shift()
    if (this.skip > 0) {
      this.skip--
      return
    }
    // One send at a time: a ZeroMQ socket is no queue.
    this.#sending = this.#sending.then(() => this.#publisher.send([TOPIC, seqFrame(seq), payload])).catch(() => undefined)
  }

  #restarted(): void {
    this.#pending.clear()
    this.#published.clear()
    this.#buffer.length = 0
    this.#named.clear()
    this.#seq = 0
    this.#epoch++
    this.#flushing = false
  }

  async #serveReplay(): Promise<void> {
    for await (const [identity, , start] of this.#router) {
      if (start === undefined || start.length !== 8) continue
      const from = Number(start.readBigUInt64BE())
      for (const { seq, payload } of this.#buffer.slice()) {
        if (seq >= from) await this.#router.send([identity!, '', TOPIC, seqFrame(seq), payload])
      }
      await this.#router.send([identity!, '', '', END, ''])
    }
  }
}

function seqFrame(seq: number): Buffer {
  const frame = Buffer.alloc(8)
  frame.writeBigUInt64BE(BigInt(seq))
  return frame
}

const TOPIC = 'kv-events'
const END = Buffer.alloc(8, 0xff)
/** As vLLM's `buffer_steps`. */
const BUFFERED_BATCHES = 10_000
const MAX_NAMED = 200_000
