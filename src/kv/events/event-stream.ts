/**
 * The order of one publisher's batches: every batch is applied once and in sequence, or the picture is given up.
 *
 *   live      seq is the one that follows: apply.
 *   gap       seq is ahead: keep it, ask for what is missing (replay), apply that, then what was kept.
 *   restart   a live seq that is not above the last live one: the publisher began anew. Forget, start from 0.
 *   lost      no replay, or it does not reach back far enough: forget, go on from what there is. The picture is then a
 *             lower bound (`complete` is false) until the engine restarts or clears its cache.
 *
 * A restart breaks the connection, and may be hidden otherwise. After a break the last applied batch is asked for again:
 * when its bytes differ, it is another publisher. Live batches wait meanwhile, bounded by count and bytes; what is beyond
 * that is a gap of its own.
 */
import type { BatchDecoder } from './decode-batch.ts'
import { MalformedEvents } from './msgpack-cursor.ts'
import type { EventSink } from './kv-event.ts'

export type StreamPorts = {
  readonly decoder: BatchDecoder
  /** Takes the events; told to forget when the picture is given up, and whether what follows will be all there is. */
  readonly blocks: EventSink & { clear(complete: boolean): void }
  /** Asks for batches from `seq` on; answers come through `replayed` and `replayEnded`. Null where it is not offered. */
  readonly requestReplay: ((seq: number) => void) | null
  readonly nowMs: () => number
}

export class EventStream {
  readonly counts = { batches: 0, duplicates: 0, gaps: 0, replays: 0, restarts: 0, losses: 0, malformed: 0, heldBack: 0 }
  /** Every block that the engine holds is known. */
  complete = false
  /** Publisher's clock of the last batch, seconds; NaN before the first. */
  lastBatchSeconds = Number.NaN
  readonly #ports: StreamPorts
  #next = 0
  #begun = false
  #lastLive = -1
  #lastPayload: Buffer | null = null
  #replaying = false
  #broken = false
  /** The first replayed batch is one that is known, to see whether it is still the same publisher. */
  #checking = false
  #tries = 0
  #triedAtMs = Number.NEGATIVE_INFINITY
  #waiting: { readonly seq: number; readonly payload: Buffer }[] = []
  #waitingBytes = 0

  constructor(ports: StreamPorts) {
    this.#ports = ports
  }

  get replaying(): boolean {
    return this.#replaying
  }

  /** The sequence number that comes next. */
  get next(): number {
    return this.#next
  }

  /** The connection broke: what comes next may be another process's, and waits until that is known. */
  disconnected(): void {
    this.#broken = true
  }

  /** The socket is connected, for the first time or again. */
  connected(): void {
    this.#broken = false
    const waiting = this.#waiting
    this.#waiting = []
    this.#waitingBytes = 0
    this.#lastLive = -1
    // The replay brings again what waits: it may be of before and of after the break.
    if (this.#ports.requestReplay !== null)
      return this.#begun ? this.#replayFrom(Math.max(0, this.#next - 1), this.#next > 0) : this.#replayFrom(0, false)
    // What was missed, or whether this is the same process, cannot be found out.
    if (this.#begun) {
      this.#lose()
      this.#startAnew(false)
    }
    for (const { seq, payload } of waiting) this.live(seq, payload)
  }

  /** A batch from the subscription. */
  live(seq: number, payload: Buffer): void {
    if (this.#begun && seq <= this.#lastLive) {
      this.counts.restarts++
      this.#startAnew(seq === 0)
    }
    this.#lastLive = seq
    if (this.#replaying || this.#broken) return this.#hold(seq, payload)
    if (!this.#begun) {
      if (seq > 0 && this.#ports.requestReplay !== null) {
        this.#hold(seq, payload)
        return this.#replayFrom(0, false)
      }
      this.#begin(seq)
    }
    if (seq === this.#next) return this.#apply(seq, payload)
    if (seq < this.#next) {
      this.counts.duplicates++
      return
    }
    this.counts.gaps++
    if (this.#ports.requestReplay === null || this.#coolingDown()) return this.#skipTo(seq, payload)
    this.#hold(seq, payload)
    this.#replayFrom(this.#next, false)
  }

  /** A batch that was asked for. */
  replayed(seq: number, payload: Buffer): void {
    if (!this.#replaying) return
    if (this.#checking) {
      this.#checking = false
      const same = seq === this.#next - 1 && this.#lastPayload !== null && payload.equals(this.#lastPayload)
      if (!same) {
        this.counts.restarts++
        this.#startAnew(true)
        this.#replayFrom(0, false)
        return
      }
    }
    if (seq < this.#next) return
    if (!this.#begun) this.#begin(seq)
    if (seq > this.#next) {
      this.#lose()
      this.#next = seq
    }
    this.#apply(seq, payload)
  }

  /** All that the publisher still had was sent. */
  replayEnded(): void {
    if (!this.#replaying) return
    // A publisher that was asked for a batch it must have, and has nothing, is another one.
    if (this.#checking) {
      this.counts.restarts++
      this.#startAnew(true)
      return this.#replayFrom(0, false)
    }
    this.#finishReplay()
  }

  /** No answer came in time: it is asked for again, or given up. */
  replayTimedOut(): void {
    if (!this.#replaying) return
    if (this.#tries < REPLAY_TRIES) return this.#request(this.#checking ? Math.max(0, this.#next - 1) : this.#next)
    this.#checking = false
    this.#lose()
    this.#finishReplay()
  }

  /** Somebody else saw that the engine is a new process. */
  restarted(): void {
    this.counts.restarts++
    this.#startAnew(true)
    this.#replayFrom(0, false)
  }

  #apply(seq: number, payload: Buffer): void {
    this.#next = seq + 1
    this.#lastPayload = payload
    this.counts.batches++
    try {
      const seconds = this.#ports.decoder.decode(payload, this.#watched)
      if (Number.isFinite(seconds)) this.lastBatchSeconds = seconds
    } catch (error) {
      if (!(error instanceof MalformedEvents)) throw error
      this.counts.malformed++
      this.#lose() // what it removed is unknown
    }
  }

  /** A clear makes the picture whole again. */
  readonly #watched: EventSink = {
    stored: (event) => this.#ports.blocks.stored(event),
    removed: (event) => this.#ports.blocks.removed(event),
    cleared: () => {
      this.complete = true
      this.#ports.blocks.cleared()
    },
  }

  /** The first batch that is known of this publisher. From its very first on, nothing is missing. */
  #begin(seq: number): void {
    this.#begun = true
    this.#next = seq
    this.complete = seq === 0
    this.#ports.blocks.clear(this.complete)
  }

  #startAnew(fromZero: boolean): void {
    this.#begun = false
    if (fromZero) this.#begin(0)
    else {
      this.#next = 0
      this.complete = false
      this.#ports.blocks.clear(false)
    }
    this.#lastLive = -1
    this.#lastPayload = null
    this.#checking = false
    this.#waiting = []
    this.#waitingBytes = 0
  }

  #lose(): void {
    this.counts.losses++
    this.complete = false
    this.#ports.blocks.clear(false)
  }

  #skipTo(seq: number, payload: Buffer): void {
    this.#lose()
    this.#next = seq
    this.#apply(seq, payload)
  }

  #hold(seq: number, payload: Buffer): void {
    if (this.#waiting.length >= MAX_WAITING || this.#waitingBytes + payload.length > MAX_WAITING_BYTES) {
      this.counts.heldBack++ // a later gap: it is asked for when its successor comes
      return
    }
    this.#waiting.push({ seq, payload })
    this.#waitingBytes += payload.length
  }

  #replayFrom(seq: number, checking: boolean): void {
    if (this.#ports.requestReplay === null) return
    this.#replaying = true
    this.#checking = checking
    this.#tries = 0
    this.#request(seq)
  }

  #request(seq: number): void {
    this.#tries++
    this.counts.replays++
    this.#triedAtMs = this.#ports.nowMs()
    this.#ports.requestReplay?.(seq)
  }

  #finishReplay(): void {
    this.#replaying = false
    const waiting = this.#waiting
    this.#waiting = []
    this.#waitingBytes = 0
    for (const { seq, payload } of waiting) {
      if (seq < this.#next) continue // the replay brought it
      if (!this.#begun) this.#begin(seq)
      if (seq > this.#next) {
        this.counts.gaps++
        this.#skipTo(seq, payload)
      } else this.#apply(seq, payload)
    }
  }

  /** A publisher whose gaps cannot be filled is not asked at each of them. */
  #coolingDown(): boolean {
    return this.#tries >= REPLAY_TRIES && this.#ports.nowMs() - this.#triedAtMs < COOL_DOWN_MS
  }
}

const REPLAY_TRIES = 3
const COOL_DOWN_MS = 30_000
/** vLLM keeps 10,000 batches for replay: more live ones need not be kept meanwhile. */
const MAX_WAITING = 10_000
const MAX_WAITING_BYTES = 64 * 2 ** 20
