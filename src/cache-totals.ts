/** What became of reports about caches and of what was computed ahead, as counters for /metrics. Labels are fixed words. */
import type { RuleAccount } from './upstream/prewarm-account.ts'
import type { TotalsCounter } from './turn-totals.ts'

export function cacheReportCounter(counts: () => Readonly<Record<string, number>>): TotalsCounter {
  return {
    name: 'homing_cache_reports_total',
    help: 'Reports about sessions by what became of them: applied, outdated, refused.',
    labelNames: ['result'],
    read: () => Object.entries(counts()).map(([result, value]) => ({ labels: { result }, value })),
  }
}

export type PrewarmTotals = {
  readonly rules: () => Readonly<Record<string, RuleAccount>>
  readonly counts: () => ReadonlyMap<string, Readonly<Record<string, number>>>
}

export function prewarmCounters({ rules, counts }: PrewarmTotals): readonly TotalsCounter[] {
  const spentAndSaved = (name: string, help: string, of: (account: RuleAccount) => readonly [number, number]): TotalsCounter => ({
    name,
    help,
    labelNames: ['rule', 'what'],
    read: () =>
      Object.entries(rules()).flatMap(([rule, account]) =>
        (['spent', 'saved'] as const).map((what, at) => ({ labels: { rule, what }, value: of(account)[at]! })),
      ),
  })
  return [
    {
      name: 'homing_prewarms_total',
      help: 'Prefixes that were to be computed ahead, by rule and what became of them.',
      labelNames: ['rule', 'result'],
      read: () =>
        Object.entries(rules()).flatMap(([rule, { hits, wasted }]) =>
          Object.entries({ ...counts().get(rule), hit: hits, wasted }).map(([result, value]) => ({ labels: { rule, result }, value })),
        ),
    },
    spentAndSaved(
      'homing_prewarm_tokens_total',
      'Prompt tokens computed ahead (spent), and those of them that turns found cached (saved).',
      ({ spentTokens, savedTokens }) => [spentTokens, savedTokens],
    ),
    spentAndSaved(
      'homing_prewarm_seconds_total',
      'The same in seconds of the learned latency.',
      ({ spentSeconds, savedSeconds }) => [spentSeconds, savedSeconds],
    ),
  ]
}
