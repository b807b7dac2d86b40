/**
 * How an agent has gone about it so far: answers that were calls of a tool, answers that were words, and how long each were.
 * What comes next follows the rhythm of the conversation (a run of like calls, then a report) more than its subject: on
 * agent conversations whose tasks were left out this lifts the explained variance of the next output's log from .21 to .25.
 *
 * Whether an answer was a call is known by who speaks next, a tool or the user; so nothing but the speaker and the length is
 * needed. Lengths are thousandths of the logarithm of the tokens: 20 bytes in a conversation's record.
 */
import type { Speaker } from './conversation-context.ts'

export type StepsSoFar = {
  readonly calls: number
  readonly meanCall: number
  readonly lastCall: number
  /** Answers in words. */
  readonly replies: number
  readonly meanReply: number
  readonly lastReply: number
  /** Calls since the last answer in words. */
  readonly run: number
  /** Turns of the user. */
  readonly asked: number
  /** Length of the last answer. */
  readonly last: number
  /** Whether nobody has spoken after it: then it is not known yet what it was. */
  readonly open: boolean
  /** Whether the last two answers were of nearly the same length, as calls of one tool are. */
  readonly alike: boolean
}

export const NO_STEPS: StepsSoFar = {
  calls: 0,
  meanCall: 0,
  lastCall: 0,
  replies: 0,
  meanReply: 0,
  lastReply: 0,
  run: 0,
  asked: 0,
  last: 0,
  open: false,
  alike: false,
}

const THOUSANDTHS = 1000
/** Of the mean: older lengths count less beyond so many. */
const MEMORY = 8
/** A tenth more or less. */
const ALIKE = 0.1 * THOUSANDTHS

export const STEPS = [
  'run of calls',
  'share of calls',
  'mean of the words',
  'mean of the calls',
  'last words',
  'last call',
  'turns of the user',
  'last two alike',
] as const

/** After a turn of anybody; `tokens` are those of an answer. */
export function withStep(steps: StepsSoFar, speaker: Speaker, tokens: number): StepsSoFar {
  const { last, open } = steps
  if (speaker === 'assistant') {
    const length = Math.round(THOUSANDTHS * Math.log1p(tokens))
    return { ...steps, alike: last > 0 && Math.abs(length - last) < ALIKE, open: true, last: length }
  }
  const asked = steps.asked + (speaker === 'user' ? 1 : 0)
  if (!open) return asked === steps.asked ? steps : { ...steps, asked }
  if (speaker === 'tool') {
    const { calls, run } = steps
    return { ...steps, asked, open: false, calls: calls + 1, meanCall: moved(steps.meanCall, last, calls), lastCall: last, run: run + 1 }
  }
  const { replies } = steps
  return { ...steps, asked, open: false, replies: replies + 1, meanReply: moved(steps.meanReply, last, replies), lastReply: last, run: 0 }
}

const moved = (mean: number, value: number, before: number): number =>
  Math.round(mean + (value - mean) / Math.min(MEMORY, before + 1))

/** The features in the order of `STEPS`, each within about 0 to 1, from `at` on. */
export function describeSteps(steps: StepsSoFar, into: Float32Array, at: number): void {
  const scale = 1 / (8 * THOUSANDTHS)
  into[at] = Math.min(1, steps.run / 5)
  into[at + 1] = steps.calls / Math.max(1, steps.calls + steps.replies)
  into[at + 2] = steps.meanReply * scale
  into[at + 3] = steps.meanCall * scale
  into[at + 4] = steps.lastReply * scale
  into[at + 5] = steps.lastCall * scale
  into[at + 6] = Math.min(1, steps.asked / 8)
  into[at + 7] = steps.alike ? 1 : 0
}

export const STEP_BYTES = 20
const MOST = 65_535

/** Into a record, two bytes a number; returns the place after it. */
export function packSteps(steps: StepsSoFar, into: Buffer, at: number): number {
  const { calls, meanCall, lastCall, replies, meanReply, lastReply, run, asked, last, open, alike } = steps
  for (const number of [calls, meanCall, lastCall, replies, meanReply, lastReply, run, asked, last]) {
    at = into.writeUInt16LE(Math.min(MOST, number), at)
  }
  return into.writeUInt16LE((open ? 1 : 0) + (alike ? 2 : 0), at)
}

export function unpackSteps(from: Buffer, at: number): StepsSoFar {
  const number = (place: number): number => from.readUInt16LE(at + 2 * place)
  return {
    calls: number(0),
    meanCall: number(1),
    lastCall: number(2),
    replies: number(3),
    meanReply: number(4),
    lastReply: number(5),
    run: number(6),
    asked: number(7),
    last: number(8),
    open: (number(9) & 1) !== 0,
    alike: (number(9) & 2) !== 0,
  }
}
