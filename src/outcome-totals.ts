/** What clients said of answers and what was kept of it, as counters for /metrics. Labels are fixed words. */
import type { TotalsCounter } from './turn-totals.ts'

export type OutcomeTotals = {
  readonly said: () => readonly { readonly source: string; readonly result: string; readonly count: number }[]
  /** Of files by what they hold: bytes with the operating system, and bytes that could not be written. */
  readonly written: () => Readonly<Record<string, { readonly bytes: number; readonly dropped: number }>>
  readonly rotations: () => number
}

export function outcomeCounters({ said, written, rotations }: OutcomeTotals): readonly TotalsCounter[] {
  const bytes = (name: string, help: string, of: 'bytes' | 'dropped'): TotalsCounter => ({
    name,
    help,
    labelNames: ['what'],
    read: () => Object.entries(written()).map(([what, counts]) => ({ labels: { what }, value: counts[of] })),
  })
  return [
    {
      name: 'homing_outcomes_total',
      help: 'Grades of answers by class of source and what became of them.',
      labelNames: ['source', 'result'],
      read: () => said().map(({ source, result, count }) => ({ labels: { source, result }, value: count })),
    },
    bytes('homing_learning_bytes_total', 'Bytes written of answers that can be graded, and of the log of choices.', 'bytes'),
    bytes('homing_learning_bytes_dropped_total', 'Bytes of these that could not be written.', 'dropped'),
    {
      name: 'homing_choice_log_rotations_total',
      help: 'Files of the log of choices that were full.',
      labelNames: [],
      read: () => [{ labels: {}, value: rotations() }],
    },
  ]
}
