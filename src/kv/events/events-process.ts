/**
 * The events process: sockets, decoding and tokenising, so that neither a flood of events nor a long tokenisation delays a
 * relay. Started by `events-link.ts` as a child. A process and not a thread: ZeroMQ is native code, and a thread that ends
 * with open sockets, by an error or because the gateway exits, takes the whole process with it (seen with 6.8).
 */
import { ChangeQueue } from './change-queue.ts'
import { EngineBlocks, type NamedBlock } from './engine-blocks.ts'
import type { FromEvents, StreamStatus, ToEvents } from './messages.ts'
import { RunLog, statesOfRun } from './run-log.ts'
import { Subscription } from './subscription.ts'
import { Tokenizer } from './tokenizer.ts'

if (process.send === undefined) throw new Error('events-process.ts runs as a child of the gateway')
/** A gateway that has gone hears nothing more, and `disconnect` follows: no error of ours. */
const post = (message: FromEvents): void => void process.send?.(message, undefined, undefined, () => undefined)
const nowMs = (): number => performance.now()
const after = (ms: number, task: () => void): (() => void) => {
  const timer = setTimeout(task, ms)
  return () => clearTimeout(timer)
}

// The gateway ends it, in its own time: a signal to the whole group is meant for the gateway.
process.on('SIGINT', () => undefined)
process.on('SIGTERM', () => undefined)
process.on('disconnect', () => {
  for (const subscription of subscriptions.values()) subscription.close()
  process.exit(0)
})

/** Blocks of one engine: a node of eight accelerators holds about 300,000 blocks of 16 tokens. */
const MAX_BLOCKS = 2 ** 20
const STATUS_EVERY_MS = 500

const zeromq = await import('zeromq').catch((error: unknown) => {
  post({ kind: 'unavailable', why: error instanceof Error ? error.message : String(error) })
  return null
})
const subscriptions = new Map<number, Subscription>()
const lags = new Map<number, number>()
const runs = new Map<number, RunLog>()
const tokenizer = new Tokenizer()
const queue = new ChangeQueue({
  send: (backend, records) => {
    const blockTokens = subscriptions.get(backend)?.blocks.blockTokens ?? 0
    post({ kind: 'changes', backend, blockTokens, records })
  },
  after,
})

function parentElsewhere(low: number, high: number): NamedBlock | null {
  for (const { blocks } of subscriptions.values()) {
    const named = blocks.named(low, high)
    if (named !== null) return named
  }
  return null
}

process.on('message', (message: ToEvents) => {
  switch (message.kind) {
    case 'watch': {
      if (zeromq === null) return
      const sink = queue.sinkOf(message.backend)
      const log = new RunLog()
      runs.set(message.backend, log)
      const blocks = new EngineBlocks({
        changes: sink,
        maxBlocks: MAX_BLOCKS,
        parentElsewhere,
        onRun: (from, to, parent, end) => log.add({ atMs: nowMs(), from, to, parent, end }),
      })
      const subscription = new Subscription(message.publisher, {
        zeromq,
        blocks,
        nowMs,
        after,
        mayRead: () => sink.mayRead(),
        onConnection: () => tell(message.backend),
        onBatch: (seconds) => {
          const lagMs = Math.max(0, Date.now() - 1000 * seconds)
          lags.set(message.backend, Math.max(lagMs, lags.get(message.backend) ?? 0))
        },
      })
      subscriptions.set(message.backend, subscription)
      return
    }
    case 'unwatch':
      subscriptions.get(message.backend)?.close()
      subscriptions.delete(message.backend)
      queue.forget(message.backend)
      runs.delete(message.backend)
      return
    case 'restarted':
      subscriptions.get(message.backend)?.stream.restarted()
      return
    case 'taken':
      queue.taken()
      return
    case 'observe': {
      const blocks = subscriptions.get(message.backend)?.blocks
      const run = runs.get(message.backend)?.endOf(message.observation, nowMs(), blocks?.blockTokens ?? 0) ?? null
      const states = run === null || blocks === undefined ? null : statesOfRun(run, blocks)
      const why = states === null ? 'no one run of blocks fits' : null
      post({ kind: 'tokens', job: message.job, states, tokens: states === null ? 0 : run!.to, why })
      return
    }
    case 'tokenize':
      void tokenizer
        .states(message.request)
        .then((result) => post({ kind: 'tokens', job: message.job, ...result }))
      return
  }
})

function tell(backend: number): void {
  const subscription = subscriptions.get(backend)
  if (subscription === undefined) return
  post({ kind: 'status', backend, status: statusOf(subscription, lags.get(backend) ?? null) })
  lags.delete(backend)
}

setInterval(() => {
  for (const backend of subscriptions.keys()) tell(backend)
}, STATUS_EVERY_MS)

function statusOf({ stream, blocks, decoder, counts, connected, lastMessageMs }: Subscription, lagMs: number | null): StreamStatus {
  return {
    connected,
    replaying: stream.replaying,
    complete: stream.complete,
    blocks: blocks.size,
    silentMs: Number.isFinite(lastMessageMs) ? nowMs() - lastMessageMs : null,
    lagMs,
    counts: {
      events: decoder.events,
      batches: stream.counts.batches,
      stored: blocks.counts.stored,
      removed: blocks.counts.removed,
      cleared: blocks.counts.cleared,
      gaps: stream.counts.gaps,
      replays: stream.counts.replays,
      restarts: stream.counts.restarts,
      losses: stream.counts.losses,
      duplicates: stream.counts.duplicates,
      malformed: stream.counts.malformed,
      unknown: decoder.unknown,
      bad_frames: counts.badFrames,
      orphans: blocks.counts.orphans,
      unknown_removed: blocks.counts.unknownRemoved,
      other_attention: blocks.counts.otherAttention,
      full: blocks.counts.full,
      held_back: stream.counts.heldBack,
      disconnects: counts.disconnects,
    },
  }
}
