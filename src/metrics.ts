/** Prometheus metrics, in the field's names and base units. Labels are bounded: backends, models offered, fixed words. */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { AskingNote } from './model/asking.ts'
import type { Receipt } from './model/receipt.ts'
import { TurnTotals, type TotalsCounter } from './turn-totals.ts'

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]

/** Clients may offer tools of any type; only names that the API has become labels. */
const OMITTED = new Set([
  'web_search',
  'web_search_preview',
  'file_search',
  'code_interpreter',
  'image_generation',
  'mcp',
  'computer',
  'shell',
  'local_shell',
  'apply_patch',
  'tool_search',
  'programmatic_tool_calling',
  'reasoning.encrypted_content',
  'service_tier',
  'max_tool_calls',
  'moderation',
  'access_programs',
  'prompt_cache_retention',
])

/** Dated versions (`web_search_preview_2025_03_11`) count as one. */
function labelOfOmitted(name: string): string {
  const undated = name.replace(/_\d{4}_\d{2}_\d{2}$/, '')
  return OMITTED.has(undated) ? undated : 'other'
}

const withoutUnmeasured = (page: string): string => page.replace(/^[^#\n].* Nan\n/gm, '')

type PredictionError = { readonly median: number; readonly p90: number }

export type Gauges = {
  readonly backends: () => readonly {
    id: string
    up: boolean
    draining: boolean
    running: number
    queuedTokens: number
    inFlightTokens: number
    othersWaitSeconds: number
    othersRunning: number
    /** How far the engine's metrics are trusted, 0: only our own record counts. */
    corrected: number
  }[]
  /** Counts that others keep, read when metrics are scraped. */
  readonly counters: readonly TotalsCounter[]
  /** What tenants with a token budget have left of it. */
  readonly tokensLeft: () => readonly { tenant: string; tokens: number }[]
  /** |predicted - measured| / measured of the last first tokens, and of the last times per output token. */
  readonly predictionErrors: () => readonly {
    backend: string
    model: string
    ttft: PredictionError
    step: PredictionError | null
  }[]
  /** How wrong each way to expect a quantity of a turn was lately, and how many outcomes stayed below the 90th percentile. */
  readonly expectations: () => readonly {
    quantity: string
    predictor: string
    error: number
    belowP90: number | null
  }[]
  /** Of backends whose engines publish KV events. */
  readonly kvEvents: () => readonly {
    backend: string
    state: string
    blocks: number
    lag_ms: number | null
    counts: Readonly<Record<string, number>>
  }[]
  /** How often exact knowledge could be used, and what became of it. */
  readonly exactness: () => Readonly<Record<string, number>>
  /** Predicted survival of conversations' blocks against what was found, over recent turns. */
  readonly survival: () => { readonly brier: number; readonly baseRateBrier: number } | null
  /** Answers that hid what was cached, by what their time to the first token told. */
  readonly hidden: () => Readonly<Record<string, number>>
  /** What was learned of signs that nobody sends: how often each is found on good and on bad answers. */
  readonly signalRates?: () => readonly { tenant: string; signal: string; good: number; bad: number }[]
  readonly sizes: () => Readonly<Record<string, number>>
  readonly evictions: () => Readonly<Record<string, number>>
  /** Rules of pre-warming, and whether they pay. */
  readonly prewarmRules?: () => readonly { rule: string; on: boolean }[]
  /** Long prompts that were computed in pieces. */
  readonly pieces: () => {
    readonly pieces: number
    readonly tokens: number
    readonly failed: number
    readonly lost: number
    readonly turnedOff: number
  }
}

export class Metrics {
  readonly registry = new Registry()
  readonly #totals = new TurnTotals()
  readonly #requests = this.#counter('homing_http_requests_total', 'Requests by route and status.', ['route', 'status'])
  readonly #requestSeconds = this.#histogram(
    'homing_http_request_duration_seconds',
    'Time from the first byte in to the last byte out.',
    ['route'],
  )
  readonly #ttft = this.#histogram(
    'homing_time_to_first_token_seconds',
    'From dispatch to the first output of the backend.',
    ['backend', 'model'],
  )
  readonly #failovers = this.#counter('homing_failovers_total', 'Attempts that were given to another backend.', [
    'backend',
  ])
  readonly #omitted = this.#counter(
    'homing_omitted_tools_total',
    'Hosted tools that were offered and left out of what the engine sees.',
    ['tool'],
  )
  readonly #decide = this.#histogram(
    'homing_decision_duration_seconds',
    'Time to rank the backends of one turn.',
    [],
    [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3],
  )
  readonly #fingerprints = this.#histogram(
    'homing_fingerprint_duration_seconds',
    'Time to fingerprint the new items of one turn.',
    [],
    [5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2],
  )
  readonly #queued = this.#histogram(
    'homing_queue_duration_seconds',
    'Time that turns waited in the gateway for a backend.',
    [],
  )
  readonly #ceilingWaits = this.#counter(
    'homing_token_ceiling_waits_total',
    'Turns that waited because a backend was at its ceiling of tokens in flight.',
    ['backend'],
  )
  readonly #fallbacks = this.#counter('homing_fallbacks_total', 'Degraded decisions, by what was missing.', ['what'])
  readonly #ensembles = this.#counter(
    'homing_ensembles_total',
    'Answers made of several ones, by how they were merged, what decided and what came of it.',
    ['merge', 'decided_by', 'outcome'],
  )
  readonly #members = this.#counter(
    'homing_ensemble_members_total',
    'Turns that such answers were made of, by their part and what became of them.',
    ['merge', 'role', 'status'],
  )
  readonly #escalations = this.#counter(
    'homing_escalations_total',
    'Cascades that went on to the next model, by why.',
    ['why'],
  )
  readonly #probes = this.#counter(
    'homing_backend_state_changes_total',
    'Backends that left or came back, by what happened.',
    ['backend', 'change'],
  )

  constructor(gauges: Gauges) {
    collectDefaultMetrics({ register: this.registry })
    for (const { name, help, labelNames, read } of [...this.#totals.counters, ...gauges.counters]) {
      new Counter({
        name,
        help,
        labelNames,
        registers: [this.registry],
        collect() {
          this.reset()
          for (const { labels, value } of read()) this.inc(labels, value)
        },
      })
    }
    this.#gauge('homing_backend_up', 'Backend takes turns (1) or not (0).', ['backend'], (gauge) => {
      for (const { id, up, draining } of gauges.backends()) gauge.set({ backend: id }, up && !draining ? 1 : 0)
    })
    this.#gauge('homing_backend_requests_running', 'Requests of this gateway in flight.', ['backend'], (gauge) => {
      for (const { id, running } of gauges.backends()) gauge.set({ backend: id }, running)
    })
    this.#gauge(
      'homing_backend_queued_prefill_tokens',
      'Uncached prompt tokens of this gateway that still wait for their first token.',
      ['backend'],
      (gauge) => {
        for (const { id, queuedTokens } of gauges.backends()) gauge.set({ backend: id }, queuedTokens)
      },
    )
    this.#gauge(
      'homing_backend_inflight_tokens',
      'Prompts and expected answers of the turns in flight; what max_inflight_tokens bounds.',
      ['backend'],
      (gauge) => {
        for (const { id, inFlightTokens } of gauges.backends()) gauge.set({ backend: id }, inFlightTokens)
      },
    )
    this.#gauge(
      'homing_tenant_tokens_left',
      'Tokens left in the budget of a tenant that has one; below zero: a debt.',
      ['tenant'],
      (gauge) => {
        for (const { tenant, tokens } of gauges.tokensLeft()) gauge.set({ tenant }, tokens)
      },
    )
    const ofBackends = (name: string, help: string, field: 'othersWaitSeconds' | 'othersRunning' | 'corrected'): void =>
      this.#gauge(name, help, ['backend'], (gauge) => {
        for (const backend of gauges.backends()) gauge.set({ backend: backend.id }, backend[field])
      })
    ofBackends('homing_backend_others_wait_seconds', 'Expected seconds of work that others have there.', 'othersWaitSeconds')
    ofBackends('homing_backend_others_requests_running', 'Sequences that the engine runs for others.', 'othersRunning')
    ofBackends('homing_backend_load_corrected', 'Trust in the engine\'s own figures; 0: own record only.', 'corrected')
    const predictionError = (name: string, help: string, of: 'ttft' | 'step'): void =>
      this.#gauge(name, help, ['backend', 'model', 'quantile'], (gauge) => {
        for (const { backend, model, [of]: error } of gauges.predictionErrors()) {
          if (error === null) continue
          gauge.set({ backend, model, quantile: '0.5' }, error.median)
          gauge.set({ backend, model, quantile: '0.9' }, error.p90)
        }
      })
    predictionError('homing_ttft_prediction_error_ratio', 'Relative error of predicted times to first token.', 'ttft')
    predictionError('homing_step_prediction_error_ratio', 'Relative error of predicted times per output token.', 'step')
    this.#gauge(
      'homing_expectation_error',
      'Error of what is expected of turns: mean absolute logarithm, or mean square of a probability.',
      ['quantity', 'predictor'],
      (gauge) => {
        for (const { quantity, predictor, error } of gauges.expectations()) gauge.set({ quantity, predictor }, error)
      },
    )
    this.#gauge('homing_expectation_below_p90', 'Share of outcomes below the expected 90th percentile.', ['quantity'], (gauge) => {
      for (const { quantity, belowP90 } of gauges.expectations()) if (belowP90 !== null) gauge.set({ quantity }, belowP90)
    })
    this.#gauge('homing_kv_events_state', 'State of a stream of KV events: 1 for the one it is in.', ['backend', 'state'], (gauge) => {
      for (const { backend, state } of gauges.kvEvents()) gauge.set({ backend, state }, 1)
    })
    this.#gauge('homing_kv_events', 'What came over a stream of KV events since it was opened.', ['backend', 'what'], (gauge) => {
      for (const { backend, counts } of gauges.kvEvents())
        for (const [what, value] of Object.entries(counts)) gauge.set({ backend, what }, value)
    })
    this.#gauge('homing_kv_events_blocks', 'Token prefixes that a backend holds, by its events.', ['backend'], (gauge) => {
      for (const { backend, blocks } of gauges.kvEvents()) gauge.set({ backend }, blocks)
    })
    this.#gauge('homing_kv_events_lag_seconds', "Largest delay of an event lately, by the publisher's clock.", ['backend'], (gauge) => {
      for (const { backend, lag_ms: lagMs } of gauges.kvEvents()) if (lagMs !== null) gauge.set({ backend }, lagMs / 1000)
    })
    this.#gauge('homing_kv_exactness', 'Uses and checks of exact cache knowledge since start.', ['what'], (gauge) => {
      for (const [what, value] of Object.entries(gauges.exactness())) gauge.set({ what }, value)
    })
    this.#gauge(
      'homing_cache_survival_brier',
      'Mean squared error of the predicted probability that a conversation is still cached at its backend.',
      ['predictor'],
      (gauge) => {
        const score = gauges.survival()
        if (score === null) return
        gauge.set({ predictor: 'learned' }, score.brier)
        gauge.set({ predictor: 'base_rate' }, score.baseRateBrier)
      },
    )
    this.#gauge(
      'homing_cache_hidden_answers',
      'Answers without cached tokens, by what their time to the first token told, since start.',
      ['told'],
      (gauge) => {
        for (const [told, value] of Object.entries(gauges.hidden())) gauge.set({ told }, value)
      },
    )
    this.#gauge(
      'homing_state_size',
      'Entries or bytes of what is held, by name; each has a bound.',
      ['what'],
      (gauge) => {
        for (const [what, value] of Object.entries(gauges.sizes())) gauge.set({ what }, value)
      },
    )
    this.#gauge(
      'homing_signal_rate',
      'Probability that a sign is found where it is looked for, on good and on bad answers, as learned.',
      ['tenant', 'signal', 'on'],
      (gauge) => {
        for (const { tenant, signal, good, bad } of gauges.signalRates?.() ?? []) {
          gauge.set({ tenant, signal, on: 'good' }, good)
          gauge.set({ tenant, signal, on: 'bad' }, bad)
        }
      },
    )
    this.#pieces(gauges.pieces)
    this.#gauge('homing_prewarm_rule_on', 'A rule of pre-warming pays (1) or is off for a while (0).', ['rule'], (gauge) => {
      for (const { rule, on } of gauges.prewarmRules?.() ?? []) gauge.set({ rule }, on ? 1 : 0)
    })
    this.#gauge('homing_evictions', 'What was let go, by name and reason, since start.', ['what'], (gauge) => {
      for (const [what, value] of Object.entries(gauges.evictions())) gauge.set({ what }, value)
    })
  }

  #pieces(read: Gauges['pieces']): void {
    const counter = (name: string, help: string, field: keyof ReturnType<Gauges['pieces']>): void => {
      new Counter({
        name,
        help,
        registers: [this.registry],
        collect() {
          this.reset()
          this.inc(read()[field])
        },
      })
    }
    counter('homing_prefill_pieces_total', 'Pieces of long prompts computed before their turns were sent.', 'pieces')
    counter('homing_prefill_piece_tokens_total', 'Prompt tokens that pieces were expected to compute.', 'tokens')
    counter('homing_prefill_pieces_failed_total', 'Pieces that no backend answered; their turns were sent whole.', 'failed')
    counter('homing_prefill_pieces_lost_total', 'Pieces that were not in the cache afterwards.', 'lost')
    counter('homing_prefill_pieces_turned_off_total', 'Times that a backend was trusted with pieces no more.', 'turnedOff')
  }

  /**
   * The page. A sample that was never measured (the mean lag of an event loop that has not turned yet) is left out:
   * prom-client writes it as `Nan`, which is no number of the text format.
   */
  async page(): Promise<{ readonly contentType: string; readonly text: string }> {
    const text = await this.registry.metrics()
    return { contentType: this.registry.contentType, text: withoutUnmeasured(text) }
  }

  request(route: string, status: number, seconds: number): void {
    this.#requests.inc({ route, status })
    this.#requestSeconds.observe({ route }, seconds)
  }

  turn(receipt: Receipt): void {
    this.#totals.add(receipt)
    if (receipt.ttftMs !== null)
      this.#ttft.observe({ backend: receipt.backendId, model: receipt.model }, receipt.ttftMs / 1000)
    if (receipt.cachedTokens.actual === null && receipt.outcome === 'completed') this.fallback('cached_tokens_hidden')
    for (const failure of receipt.failovers) this.#failovers.inc({ backend: failure.backendId })
    for (const tool of receipt.omitted) this.#omitted.inc({ tool: labelOfOmitted(tool) })
    this.#decide.observe(receipt.decideMicroseconds / 1e6)
    if (receipt.ceilingAt !== undefined) this.#ceilingWaits.inc({ backend: receipt.ceilingAt })
    if (receipt.queuedMs > 0) this.#queued.observe(receipt.queuedMs / 1000)
  }

  asked({ merge, decidedBy, members, escalations }: AskingNote, outcome: string): void {
    this.#ensembles.inc({ merge, decided_by: decidedBy, outcome })
    for (const { role, status } of members) this.#members.inc({ merge, role, status })
    for (const { why } of escalations ?? []) this.#escalations.inc({ why })
  }

  askedInVain(merge: string, code: string): void {
    this.#ensembles.inc({ merge, decided_by: 'none', outcome: code })
  }

  fingerprint(seconds: number, partial: boolean): void {
    this.#fingerprints.observe(seconds)
    if (partial) this.fallback('fingerprint_partial')
  }

  fallback(what: string): void {
    this.#fallbacks.inc({ what })
  }

  backendChanged(backend: string, change: string): void {
    this.#probes.inc({ backend, change })
  }

  #counter<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Counter<Label> {
    return new Counter({ name, help, labelNames, registers: [this.registry] })
  }

  #histogram<Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
    buckets = SECONDS,
  ): Histogram<Label> {
    return new Histogram({ name, help, labelNames, buckets, registers: [this.registry] })
  }

  #gauge(name: string, help: string, labelNames: readonly string[], read: (gauge: Gauge) => void): void {
    new Gauge({
      name,
      help,
      labelNames,
      registers: [this.registry],
      collect() {
        this.reset()
        read(this)
      },
    })
  }
}
