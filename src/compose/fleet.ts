/** Backends as they are now: found and probed, what they say of themselves, and what is in flight there. */
import { EngineLoad } from '../fleet/engine-load.ts'
import { Ledger } from '../fleet/ledger.ts'
import { MetricsProbe } from '../fleet/metrics-probe.ts'
import { OthersWork } from '../fleet/others-work.ts'
import { createProbeGet, ProbeConnections } from '../fleet/probe-get.ts'
import { BackendRegistry } from '../fleet/registry.ts'
import { systemAfter } from '../fleet/timers.ts'
import type { LatencyModel } from '../learn/latency.ts'
import type { Backend } from '../model/backend.ts'

export type FleetParts = {
  readonly latency: LatencyModel
  readonly nowMs: () => number
  /** An engine's metrics page could not be read. */
  readonly onUnread: () => void
}

export type Fleet = ReturnType<typeof buildFleet>

export function buildFleet({ latency, nowMs, onUnread }: FleetParts) {
  const probeConnections = new ProbeConnections()
  const probeGet = createProbeGet({ dispatcherFor: probeConnections.dispatcherFor, timeoutMs: 3000 })
  const registry = new BackendRegistry({
    get: probeGet,
    nowMs,
    after: systemAfter,
    random: Math.random,
  })
  const others = new OthersWork({ nowMs })
  const ledger = new Ledger({ nowMs, others })
  const engineLoad = new EngineLoad({
    ledger,
    others,
    nowMs,
    prefillSeconds: (tokens, backend) => {
      const [model] = backend.models.keys()
      return latency.prefillSeconds(tokens, backend.index, model ?? '')
    },
  })
  const metricsProbe = new MetricsProbe({
    backends: () => registry.list(),
    get: probeGet,
    nowMs,
    after: systemAfter,
    random: Math.random,
    onRestart: (backend, why) => registry.noteRestart(backend, why),
    reader: engineLoad,
    onUnread,
  })
  const load = (backend: Backend) => ({
    running: ledger.runningCount(backend.index),
    queuedTokens: ledger.remainingPrefillTokens(backend.index),
    othersSeconds: others.waitSeconds(backend.index),
  })
  return { probeConnections, registry, others, ledger, engineLoad, metricsProbe, load }
}

/** Why turns cannot be taken yet, or not any more. */
export function missingForReady(backends: readonly Backend[], probed: boolean, closing: boolean): string[] {
  const missing: string[] = []
  if (closing) missing.push('the gateway is shutting down')
  if (!probed) missing.push('not every backend has been probed yet')
  if (backends.length === 0) missing.push('no backend is configured')
  else if (!backends.some((backend) => backend.healthy && !backend.draining && backend.models.size > 0))
    missing.push('no backend is usable')
  return missing
}
