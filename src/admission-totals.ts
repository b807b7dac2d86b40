/** What became of turns before they reached a backend, as counters for /metrics: the waiting room, and tenants' limits. */
import type { TenantUse } from './http/tenant-limits.ts'
import type { TotalsCounter } from './turn-totals.ts'

const OUTCOMES = ['placed', 'overdue', 'cancelled', 'refused'] as const

export function waitingTurns(counts: () => Readonly<Record<(typeof OUTCOMES)[number], number>>): TotalsCounter {
  return {
    name: 'homing_waiting_turns_total',
    help: 'Turns that left the waiting room, by how: placed, overdue (put into an engine queue), cancelled, refused.',
    labelNames: ['outcome'],
    read: () => OUTCOMES.map((outcome) => ({ labels: { outcome }, value: counts()[outcome] })),
  }
}

/** Bounded by the tenants of the configuration that have limits. */
export function tenantCounters(use: () => readonly TenantUse[]): readonly TotalsCounter[] {
  return [
    {
      name: 'homing_tenant_refusals_total',
      help: 'Requests answered 429, by the limit of the tenant that said so.',
      labelNames: ['tenant', 'limit'],
      read: () =>
        use().flatMap(({ tenant, refused }) =>
          Object.entries(refused).map(([limit, value]) => ({ labels: { tenant, limit }, value })),
        ),
    },
    {
      name: 'homing_tenant_tokens_total',
      help: 'Tokens counted against budgets: expected when turns were admitted, used when they had ended.',
      labelNames: ['tenant', 'counted'],
      read: () =>
        use().flatMap(({ tenant, tokensLeft, expectedTokens, usedTokens }) =>
          tokensLeft === null
            ? []
            : [
                { labels: { tenant, counted: 'expected' }, value: Math.round(expectedTokens) },
                { labels: { tenant, counted: 'used' }, value: Math.round(usedTokens) },
              ],
        ),
    },
  ]
}
