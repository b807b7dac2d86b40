/**
 * What the client sees of a turn that a small model answers first.
 *
 *   small model, whole -> a reason to doubt it? -> does asking the next one pay? -> the next, the last of them streamed
 *
 * Hard signs (it failed, was cut short, refused, broke the schema) always lead on. How sure the model was leads on where the
 * client or a rule set a threshold and it is below, else where the account of earlier escalations says that it pays.
 * Where a better model fails, the best answer that is there is given, and that is counted. An answer of a small model can be
 * sent only when it is known to stand, so it is streamed in one piece; the last model's answer is streamed as it comes.
 */
import { checkOffered, outputBound, wantsJson } from './asked-models.ts'
import type { Step as EscalationStep } from './learn/escalations.ts'
import { Member, type MemberAnswer, type MemberParts } from './member-run.ts'
import { memberTurn, wantsLogprobs } from './member-turn.ts'
import { memberNote, MergedAnswer } from './merged-answer.ts'
import type { AskingNote, CascadeAsk, DecidedBy, EscalationReason } from './model/asking.ts'
import type { Cancellation } from './model/cancellation.ts'
import { HomingError } from './model/error.ts'
import type { ResolvedTurn } from './model/turn.ts'
import { beginPatience, NO_PATIENCE } from './patience.ts'
import type { Stages } from './stages.ts'
import type { ClientSink } from './upstream/client-sink.ts'
import { doubtOf, type Wanted } from './upstream/ensemble/doubt.ts'
import { ballotOf } from './upstream/ensemble/final-answer.ts'

/** Samples beside the answer only have to show what it comes to. */
const SAMPLE_OUTPUT_TOKENS = 512

export async function answerCascade(
  base: ResolvedTurn,
  ask: CascadeAsk,
  sink: ClientSink,
  abort: Cancellation,
  stages: Stages,
): Promise<void> {
  checkOffered(ask.models, 'homing.cascade.models', stages)
  await new CascadeRun(base, ask, sink, abort, stages).serve()
}

type Step = { readonly from: string; readonly to: string; readonly why: EscalationReason }
/** An answer of a small model, how sure of it one may be, and what it cost. */
type Tried = { readonly answer: MemberAnswer; readonly confidence: number | null; readonly doubt: EscalationReason | null }

class CascadeRun {
  readonly #base: ResolvedTurn
  readonly #ask: CascadeAsk
  readonly #abort: Cancellation
  readonly #stages: Stages
  readonly #sink: ClientSink
  readonly #merged: MergedAnswer
  readonly #wanted: Wanted
  readonly #maxOutputTokens: number | null
  readonly #asked: MemberAnswer[] = []
  readonly #steps: Step[] = []

  constructor(base: ResolvedTurn, ask: CascadeAsk, sink: ClientSink, abort: Cancellation, stages: Stages) {
    this.#base = base
    this.#ask = ask
    this.#abort = abort
    this.#stages = stages
    this.#sink = sink
    this.#wanted = wantsJson(base)
    this.#maxOutputTokens = outputBound(base, ask, stages)
    this.#merged = new MergedAnswer(base, 'cascade', sink, stages)
  }

  async serve(): Promise<void> {
    const { voice } = this.#merged
    const patience = this.#base.stream ? beginPatience(voice, this.#stages.streamCommitAfterMs) : NO_PATIENCE
    try {
      await this.#climb()
    } catch (error) {
      if (!(error instanceof HomingError)) throw error
      this.#merged.refuse(error)
    } finally {
      patience.stop()
    }
  }

  async #climb(): Promise<void> {
    const { models } = this.#ask
    let best: Tried | null = null
    for (const [index, model] of models.entries()) {
      const isLast = index === models.length - 1
      const startedMs = this.#stages.nowMs()
      const tried = isLast ? await this.#askLast(model) : await this.#trySmall(model)
      if (this.#abort.aborted) return
      const from = models[index - 1]
      if (from !== undefined && best !== null) this.#learn(best, tried, from, model, (this.#stages.nowMs() - startedMs) / 1000)
      const isUsable = tried.answer.status === 'completed' || tried.answer.status === 'incomplete'
      if (isLast) {
        if (isUsable) return this.#finish(tried.answer, 'escalated')
        if (this.#merged.voice.visible) return this.#merged.finishBroken({ answer: tried.answer, note: this.#note(tried.answer, 'escalated'), asked: this.#asked })
        if (best === null) throw tried.answer.error ?? new HomingError('backend_error', { why: 'The answer broke off.' })
        this.#stages.asking.fallback('cascade_next_failed')
        return this.#finish(best.answer, 'only_answer')
      }
      // of two doubtful answers the larger model's
      if (isUsable) best = tried
      const next = models[index + 1]!
      const why = this.#reasonToGoOn(tried, model, next)
      if (why === 'confident' || why === 'not_worth_it') return this.#finish(tried.answer, index > 0 && why === 'confident' ? 'escalated' : why)
      this.#steps.push({ from: model, to: next, why })
      if (best !== null) this.#merged.voice.progress(`${model.replace(/[^\x21-\x7e]/g, '?')} answered, asking another`)
    }
  }

  async #trySmall(model: string): Promise<Tried> {
    const { samples } = this.#ask
    const first = this.#start(model, 'member', this.#maxOutputTokens, samples === 1 && !wantsLogprobs(this.#base))
    const short = Math.min(this.#maxOutputTokens ?? Infinity, this.#base.maxOutputTokens ?? Infinity, SAMPLE_OUTPUT_TOKENS)
    const others = Array.from({ length: samples - 1 }, () => this.#start(model, 'sample', short, false))
    const answer = await first.done
    // a sign that the answer cannot stand makes the samples needless
    const doubt = this.#doubt(answer)
    if (doubt !== null) for (const other of others) other.cancel()
    const drawn = await Promise.all(others.map(({ done }) => done))
    this.#asked.push(answer, ...drawn)
    return { answer, doubt, confidence: doubt === null ? this.#confidence(answer, drawn) : null }
  }

  #doubt(answer: MemberAnswer): EscalationReason | null {
    if (answer.status !== 'completed' && answer.status !== 'incomplete') return 'failed'
    return doubtOf(answer.output, answer.status, this.#wanted)
  }

  /** The share of samples that come to the same, or the probability of the tokens; null where neither is known. */
  #confidence(answer: MemberAnswer, drawn: readonly MemberAnswer[]): number | null {
    if (this.#ask.samples === 1) return answer.confidence
    const ballots = [answer, ...drawn].map(({ status, output }) => (status === 'completed' ? ballotOf(output, this.#wanted.json) : null))
    const own = ballots[0]
    const cast = ballots.filter((ballot) => ballot !== null)
    if (own === null || cast.length < 2) return null
    return cast.filter((ballot) => ballot === own).length / cast.length
  }

  #reasonToGoOn({ doubt, confidence }: Tried, from: string, to: string): EscalationReason | 'confident' | 'not_worth_it' {
    if (doubt !== null) return doubt
    const why = this.#ask.samples === 1 ? 'low_confidence' : 'disagreement'
    if (confidence === null) {
      this.#stages.asking.fallback('cascade_confidence_unknown')
      return 'confident'
    }
    if (this.#ask.confidence !== null) return confidence < this.#ask.confidence ? why : 'confident'
    const step = this.#step(from, to, why, confidence)
    return this.#stages.asking.escalations.pays(step) ? why : 'not_worth_it'
  }

  async #askLast(model: string): Promise<Tried> {
    const isLive = this.#base.stream
    const live: MemberParts['live'] = {
      take: (event) => this.#merged.voice.live(event),
      onDrain: (listener) => this.#sink.onDrain(listener),
      cut: () => {
        this.#sink.cut()
        this.#abort.abort()
      },
    }
    const options = { stream: isLive, maxOutputTokens: this.#maxOutputTokens, logprobs: false }
    const turn = memberTurn(this.#base, model, options, this.#stages)
    const answer = await this.#run({ turn, role: 'member', ...(isLive ? { live } : {}) }).done
    this.#asked.push(answer)
    return { answer, doubt: null, confidence: null }
  }

  #start(model: string, role: 'member' | 'sample', maxOutputTokens: number | null, logprobs: boolean): Member {
    const options = { stream: false, maxOutputTokens, logprobs }
    return this.#run({ turn: memberTurn(this.#base, model, options, this.#stages), role, logprobs })
  }

  #run(parts: Pick<MemberParts, 'turn' | 'role' | 'live' | 'logprobs'>): Member {
    return new Member({ ...parts, mergedId: this.#merged.id, stages: this.#stages, signal: this.#abort })
  }

  /** Only what confidence led to: an answer that broke the schema says nothing of what asking for more brings. */
  #learn(before: Tried, after: Tried, from: string, to: string, seconds: number): void {
    const step = this.#steps.at(-1)
    if (step === undefined || (step.why !== 'low_confidence' && step.why !== 'disagreement')) return
    if (after.answer.status !== 'completed') return
    const [own, other] = [before, after].map(({ answer }) => ballotOf(answer.output, this.#wanted.json))
    if (!isComparable(own) || !isComparable(other)) return
    this.#stages.asking.escalations.escalated(this.#step(from, to, step.why, before.confidence), own !== other, seconds)
  }

  #step(from: string, to: string, why: EscalationReason, confidence: number | null): EscalationStep {
    const topic = this.#base.fingerprint?.topics[0]?.[0] ?? 'unknown'
    return { from, to, why, confidence, topic, secondsPerQuality: this.#stages.asking.secondsPerQuality(this.#base.model) }
  }

  #finish(answer: MemberAnswer, decidedBy: DecidedBy): Promise<void> {
    return this.#merged.finish({ answer, note: this.#note(answer, decidedBy), asked: this.#asked })
  }

  #note(answer: MemberAnswer, decidedBy: DecidedBy): AskingNote {
    const members = this.#asked.map((member) => memberNote(member))
    return { merge: 'cascade', decidedBy, chosen: answer.id, escalations: this.#steps, members }
  }
}

/** Two long texts are never the same, and that they differ says nothing. */
const isComparable = (ballot: string | null | undefined): boolean =>
  typeof ballot === 'string' && (!ballot.startsWith('text ') || ballot.length <= COMPARED_CHARACTERS)
const COMPARED_CHARACTERS = 64
