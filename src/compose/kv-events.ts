/** KV events: the link to the process that reads them, what they prove of a conversation, and the watch over both. */
import { fork } from 'node:child_process'
import type { Logger } from 'pino'
import type { ChainMaker } from '../conversation/resolve.ts'
import { EventsWatch } from '../events-watch.ts'
import { ExactTurns } from '../exact-turns.ts'
import { systemAfter } from '../fleet/timers.ts'
import type { BlockIndex } from '../kv/block-index.ts'
import { EVENTS_PROCESS, EventsLink } from '../kv/events/events-link.ts'
import { ExactResidency } from '../kv/events/exact-residency.ts'
import { TokenAnchors } from '../kv/events/token-anchors.ts'
import { TokenSource } from '../kv/events/token-source.ts'
import type { LatencyModel } from '../learn/latency.ts'
import type { Fleet } from './fleet.ts'

/** A bound that is not in the configuration (`memory`). */
const TOKEN_ANCHOR_BYTES = 64 * 2 ** 20

export type KvEventsParts = {
  readonly fleet: Fleet
  readonly index: BlockIndex
  readonly latency: LatencyModel
  readonly nowMs: () => number
  readonly log: Logger
  readonly fallback: (what: string) => void
}

export type KvEvents = ReturnType<typeof buildKvEvents>

export function buildKvEvents({ fleet, index, latency, nowMs, log, fallback }: KvEventsParts) {
  const { registry } = fleet
  const events = new EventsLink({
    spawn: () => fork(EVENTS_PROCESS, { serialization: 'advanced', execArgv: [], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] }),
    nowMs,
    after: systemAfter,
    onTrouble: (why) => {
      fallback('kv_events_down')
      log.error({ why }, 'KV events')
    },
    onChange: () => eventsWatch.look(),
  })
  const anchors = new TokenAnchors({ maxBytes: TOKEN_ANCHOR_BYTES })
  const residency = new ExactResidency({
    watched: (backend) => events.of(backend),
    anchors,
    history: index,
    prefillTokensPerSecond: (backend, model) => 1000 / Math.max(1e-9, latency.prefillSeconds(2000, backend, model) - latency.prefillSeconds(1000, backend, model)),
    nowMs,
  })
  const eventsWatch = new EventsWatch({
    events,
    residency,
    backends: () => registry.list(),
    onChange: (backend, state, before) => {
      if (before === 'exact') fallback('kv_events_not_exact')
      const trouble = state === 'lost' || state === 'silent' || state === 'contradicted' || before === 'exact'
      log[trouble ? 'warn' : 'info']({ backend: backend.id, state, before }, 'KV events')
    },
  })
  return { events, anchors, residency, eventsWatch }
}

export type ExactParts = {
  readonly kvEvents: KvEvents
  readonly chains: ChainMaker
  readonly index: BlockIndex
  readonly nowMs: () => number
}

export type ExactKnowledge = ReturnType<typeof buildExactTurns>

/** Turns at backends with events, and the questions for their tokens. */
export function buildExactTurns({ kvEvents, chains, index, nowMs }: ExactParts) {
  const { events, anchors, residency, eventsWatch } = kvEvents
  const tokenSource = new TokenSource({
    anchors,
    tokenize: (request) => events.tokenize(request),
    observe: (backend, observation) => events.observe(backend, observation),
    nowMs,
    after: systemAfter,
  })
  const exact = new ExactTurns({
    residency,
    source: tokenSource,
    chains,
    index,
    nowMs,
    onProof: () => eventsWatch.look(),
  })
  return { tokenSource, exact }
}
