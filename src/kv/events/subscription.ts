/**
 * The sockets of one publisher: SUB for what happens now, DEALER for what was missed, both in the events process.
 *
 *   SUB      [topic, seq (8 bytes, big-endian), payload]
 *   DEALER   sends ["", seq]; receives ["", topic?, seq, payload] per batch, and seq ff..ff (-1) at the end
 *
 * What the socket holds unread is bounded by the high-water mark; ZeroMQ drops the rest, which shows as a gap and is
 * replayed. `mayRead` lets the reader of the changes hold us back.
 */
import { setImmediate as turn } from 'node:timers/promises'
import type * as zeromq from 'zeromq'
import type { Dealer, Subscriber } from 'zeromq'
import { BatchDecoder } from './decode-batch.ts'
import type { EngineBlocks } from './engine-blocks.ts'
import { EventStream } from './event-stream.ts'

export type Publisher = {
  readonly endpoint: string
  readonly replay: string | null
  readonly topic: string
}

/** Loaded only where a backend has events. */
export type Zeromq = typeof zeromq

export type SubscriptionPorts = {
  readonly zeromq: Zeromq
  readonly blocks: EngineBlocks
  readonly nowMs: () => number
  readonly after: (ms: number, task: () => void) => () => void
  /** Resolves when more changes can be taken. */
  readonly mayRead: () => Promise<void>
  /** Connected, or not any more, or a replay ended. */
  readonly onConnection?: () => void
  /** A live batch was worked in; its time by the publisher's clock. */
  readonly onBatch?: (seconds: number) => void
}

export class Subscription {
  readonly decoder = new BatchDecoder()
  readonly stream: EventStream
  readonly blocks: EngineBlocks
  readonly counts = { messages: 0, badFrames: 0, disconnects: 0 }
  connected = false
  /** When the last message came, of `nowMs`. */
  lastMessageMs = Number.NEGATIVE_INFINITY
  readonly #ports: SubscriptionPorts
  readonly #publisher: Publisher
  readonly #subscriber: Subscriber
  #dealer: Dealer | null = null
  #cancelPatience = (): void => undefined
  #closed = false

  constructor(publisher: Publisher, ports: SubscriptionPorts) {
    this.#ports = ports
    this.#publisher = publisher
    this.blocks = ports.blocks
    this.stream = new EventStream({
      decoder: this.decoder,
      blocks: ports.blocks,
      requestReplay: publisher.replay === null ? null : (seq) => this.#requestReplay(seq),
      nowMs: ports.nowMs,
    })
    this.#subscriber = new ports.zeromq.Subscriber({
      receiveHighWaterMark: HIGH_WATER_MARK,
      maxMessageSize: MAX_MESSAGE_BYTES,
      reconnectInterval: 200,
      reconnectMaxInterval: 5000,
      tcpKeepalive: 1,
      linger: 0,
    })
    this.#subscriber.events.on('handshake', () => {
      this.connected = true
      this.stream.connected()
      this.#ports.onConnection?.()
    })
    this.#subscriber.events.on('disconnect', () => {
      if (this.connected) this.counts.disconnects++
      this.connected = false
      this.stream.disconnected()
      this.#ports.onConnection?.()
    })
    this.#subscriber.subscribe(publisher.topic)
    this.#subscriber.connect(publisher.endpoint)
    void this.#read()
  }

  close(): void {
    this.#closed = true
    this.#cancelPatience()
    this.#subscriber.close()
    this.#dealer?.close()
    this.#dealer = null
  }

  async #read(): Promise<void> {
    let sinceTurn = 0
    while (!this.#closed) {
      await this.#ports.mayRead()
      let frames: Buffer[]
      try {
        frames = await this.#subscriber.receive()
      } catch (error) {
        if (this.#closed) return
        throw error
      }
      this.counts.messages++
      this.lastMessageMs = this.#ports.nowMs()
      const [seqFrame, payload] = frames.slice(-2)
      const seq = frames.length < 2 ? null : seqOf(seqFrame!)
      if (seq === null) this.counts.badFrames++
      else {
        const { batches } = this.stream.counts
        this.stream.live(seq, payload!)
        if (this.stream.counts.batches > batches) this.#ports.onBatch?.(this.stream.lastBatchSeconds)
      }
      // Messages that are there already never yield to timers and ports by themselves.
      if (++sinceTurn >= MESSAGES_A_TURN) {
        sinceTurn = 0
        await turn()
      }
    }
  }

  #requestReplay(seq: number): void {
    const dealer = this.#openDealer()
    const start = Buffer.alloc(8)
    start.writeBigUInt64BE(BigInt(seq))
    this.#awaitReplay()
    dealer.send(['', start]).catch(() => undefined) // not sent shows as no answer in time
  }

  #awaitReplay(): void {
    this.#cancelPatience()
    this.#cancelPatience = this.#ports.after(REPLAY_PATIENCE_MS, () => this.stream.replayTimedOut())
  }

  /** A new socket for each request: a late answer to an old one must not be taken for one to the new. */
  #openDealer(): Dealer {
    this.#dealer?.close()
    const dealer = new this.#ports.zeromq.Dealer({
      receiveHighWaterMark: REPLAY_HIGH_WATER_MARK,
      maxMessageSize: MAX_MESSAGE_BYTES,
      sendTimeout: REPLAY_PATIENCE_MS,
      linger: 0,
    })
    dealer.connect(this.#publisher.replay!)
    this.#dealer = dealer
    void this.#readReplay(dealer)
    return dealer
  }

  async #readReplay(dealer: Dealer): Promise<void> {
    let sinceTurn = 0
    while (this.#dealer === dealer) {
      let frames: Buffer[]
      try {
        frames = await dealer.receive()
      } catch (error) {
        if (this.#dealer !== dealer || dealer.closed) return
        throw error
      }
      if (this.#dealer !== dealer) return
      this.#awaitReplay()
      const [seqFrame, payload] = frames.slice(-2)
      const ended = isEnd(payload) || (isEnd(seqFrame) && payload!.length === 0)
      const seq = seqFrame === undefined ? null : seqOf(seqFrame)
      if (ended) {
        this.#cancelPatience()
        this.stream.replayEnded()
      } else if (seq === null || payload === undefined) this.counts.badFrames++
      else this.stream.replayed(seq, payload)
      if (!this.stream.replaying) {
        this.#cancelPatience()
        this.#ports.onConnection?.()
      }
      if (++sinceTurn >= MESSAGES_A_TURN) {
        sinceTurn = 0
        await turn()
      }
    }
  }
}

/** Null for what is no sequence number of this world. */
function seqOf(frame: Buffer): number | null {
  if (frame.length !== 8) return null
  const high = frame.readUInt32BE(0)
  return high > 0x1fffff ? null : high * 4294967296 + frame.readUInt32BE(4)
}

const isEnd = (frame: Buffer | undefined): boolean =>
  frame !== undefined && frame.length === 8 && frame.readUInt32BE(0) === 0xffffffff && frame.readUInt32BE(4) === 0xffffffff

/** Unread live messages: at 200 batches a second, 50 s of not reading. */
const HIGH_WATER_MARK = 10_000
/** vLLM's replay buffer has 10,000 batches, and its end must not be dropped. */
const REPLAY_HIGH_WATER_MARK = 20_000
/** A batch of one step holds a few thousand blocks; 64 MiB are four million tokens. */
const MAX_MESSAGE_BYTES = 64 * 2 ** 20
/** Between two answers of a replay; vLLM looks for requests ten times a second. */
const REPLAY_PATIENCE_MS = 2000
const MESSAGES_A_TURN = 64
