/**
 * Signs of whether an answer was good that nobody sends: the gateway sees them anyway. A sign is looked for only where it can
 * show (invalid JSON where JSON was asked for, a complaint where somebody spoke next); what was looked for and what was found
 * are two sets of bits, so an answer's evidence is two numbers.
 *
 * Rates before anything was learned: how often a sign is found on a good and on a bad answer. They are assumptions, weak ones
 * (`signal-reliability.ts` says how weak); only their order is meant: words of the next turn say most, going on says little.
 */
export const SIGNALS = [
  'invalid_json',
  'bad_arguments',
  'refusal',
  'truncated',
  'abandoned',
  'tool_error',
  'asked_again',
  'correction',
  'complaint',
  'thanks',
  'went_on',
] as const
export type Signal = (typeof SIGNALS)[number]

/** Probability that a sign is found where it is looked for, on good and on bad answers. */
export type SignalRates = { readonly good: number; readonly bad: number }

const PRIOR: Readonly<Record<Signal, SignalRates>> = {
  invalid_json: { good: 0.02, bad: 0.25 },
  bad_arguments: { good: 0.02, bad: 0.2 },
  refusal: { good: 0.02, bad: 0.12 },
  truncated: { good: 0.04, bad: 0.12 },
  abandoned: { good: 0.03, bad: 0.08 },
  tool_error: { good: 0.08, bad: 0.2 },
  asked_again: { good: 0.03, bad: 0.12 },
  correction: { good: 0.04, bad: 0.2 },
  complaint: { good: 0.02, bad: 0.12 },
  thanks: { good: 0.15, bad: 0.05 },
  went_on: { good: 0.5, bad: 0.45 },
}
export const PRIOR_RATES: readonly SignalRates[] = SIGNALS.map((signal) => PRIOR[signal])

/** Bit i stands for signal i. What was found was looked for. */
export type Evidence = { readonly sought: number; readonly found: number }

export const NO_EVIDENCE: Evidence = { sought: 0, found: 0 }

const BIT = Object.fromEntries(SIGNALS.map((signal, place) => [signal, 1 << place])) as Readonly<Record<Signal, number>>

/** `found` null: it could not show. */
export const withSign = (evidence: Evidence, signal: Signal, found: boolean | null): Evidence =>
  found === null
    ? evidence
    : { sought: evidence.sought | BIT[signal], found: found ? evidence.found | BIT[signal] : evidence.found & ~BIT[signal] }

export const both = (left: Evidence, right: Evidence): Evidence => ({
  sought: left.sought | right.sought,
  found: left.found | right.found,
})

export const foundSigns = ({ found }: Evidence): Signal[] => SIGNALS.filter((signal) => (found & BIT[signal]) !== 0)
