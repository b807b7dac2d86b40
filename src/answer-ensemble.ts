/**
 * What the client sees of a turn that several models answer at once.
 *
 *   choose members -> all run -> enough answers (votes certain, quorum, deadline, all) -> the others are called off -> merge
 *
 * Some members may fail: one answer is enough unless a quorum says otherwise. Where no member answers, the client is told
 * the error of the one of which most was expected. Whatever a merge needs beyond the answers may fail too (a judge that
 * gives no verdict, a writer that does not answer): the votes decide then, which is counted as a fallback.
 */
import { Member, type MemberAnswer, type MemberParts } from './member-run.ts'
import { followUpTurn, memberTurn, wantsLogprobs } from './member-turn.ts'
import { memberNote, MergedAnswer } from './merged-answer.ts'
import type { AskingNote, DecidedBy, EnsembleAsk } from './model/asking.ts'
import type { Cancellation } from './model/cancellation.ts'
import { HomingError } from './model/error.ts'
import type { ResolvedTurn } from './model/turn.ts'
import { beginPatience, NO_PATIENCE } from './patience.ts'
import type { Stages } from './stages.ts'
import type { ClientSink } from './upstream/client-sink.ts'
import { bestOf, knownLeader } from './upstream/ensemble/best-of.ts'
import { ballotOf, textOfAnswer } from './upstream/ensemble/final-answer.ts'
import { judgePrompt, readVerdict } from './upstream/ensemble/judge.ts'
import { synthesisPrompt } from './upstream/ensemble/synthesis.ts'
import { countVotes, isCertain, weightOf, type VoteResult, type Voter } from './upstream/ensemble/vote.ts'
import { membersOf, outputBound, wantsJson } from './asked-models.ts'

/** A verdict is one line; the rest is room for a model that thinks aloud. */
const JUDGE_OUTPUT_TOKENS = 1024

export async function answerEnsemble(
  base: ResolvedTurn,
  ask: EnsembleAsk,
  sink: ClientSink,
  abort: Cancellation,
  stages: Stages,
): Promise<void> {
  const models = membersOf(base, ask, stages)
  await new EnsembleRun(base, ask, models, sink, abort, stages).serve()
}

class EnsembleRun {
  readonly #base: ResolvedTurn
  readonly #ask: EnsembleAsk
  readonly #abort: Cancellation
  readonly #stages: Stages
  readonly #merged: MergedAnswer
  readonly #sink: ClientSink
  readonly #qualities: readonly number[]
  readonly #leader: number | null
  #members: readonly Member[] = []
  /** Of each call; null: the client's own bound. */
  readonly #maxOutputTokens: number | null
  readonly #json: boolean
  readonly #models: readonly string[]

  constructor(base: ResolvedTurn, ask: EnsembleAsk, models: readonly string[], sink: ClientSink, abort: Cancellation, stages: Stages) {
    this.#base = base
    this.#ask = ask
    this.#abort = abort
    this.#stages = stages
    this.#sink = sink
    this.#json = wantsJson(base).json
    this.#maxOutputTokens = outputBound(base, ask, stages)
    this.#qualities = stages.asking.qualities(base, models)
    this.#leader = ask.merge === 'best_of' ? knownLeader(this.#qualities) : null
    this.#merged = new MergedAnswer(base, ask.merge, sink, stages)
    this.#models = models
  }

  async serve(): Promise<void> {
    const { voice } = this.#merged
    this.#members = this.#models.map((model, index) => this.#start(model, index))
    const patience = this.#base.stream ? beginPatience(voice, this.#stages.streamCommitAfterMs) : NO_PATIENCE
    try {
      await this.#enough()
      for (const member of this.#members) member.cancel()
      const asked = await Promise.all(this.#members.map(({ done }) => done))
      if (this.#abort.aborted) return
      await this.#merge(asked)
    } catch (error) {
      if (!(error instanceof HomingError)) throw error
      this.#merged.refuse(error)
    } finally {
      patience.stop()
      for (const member of this.#members) member.cancel()
    }
  }

  #start(model: string, index: number): Member {
    const leads = index === this.#leader && this.#base.stream
    const logprobs = this.#ask.merge === 'best_of' && this.#leader === null && !wantsLogprobs(this.#base)
    const options = { stream: leads, maxOutputTokens: this.#maxOutputTokens, logprobs }
    const turn = memberTurn(this.#base, model, options, this.#stages)
    return this.#run({ turn, role: 'member', logprobs, ...(leads ? { live: this.#live } : {}) })
  }

  #run(parts: Pick<MemberParts, 'turn' | 'role' | 'live' | 'logprobs'>): Member {
    return new Member({ ...parts, mergedId: this.#merged.id, stages: this.#stages, signal: this.#abort })
  }

  get #live(): NonNullable<MemberParts['live']> {
    return {
      take: (event) => this.#merged.voice.live(event),
      onDrain: (listener) => this.#sink.onDrain(listener),
      cut: () => {
        this.#sink.cut()
        this.#abort.abort()
      },
    }
  }

  /** Resolves when no answer that is still missing is waited for. */
  #enough(): Promise<void> {
    const { quorum, deadlineMs } = this.#ask
    const least = quorum ?? 1
    return new Promise((resolve) => {
      let isLate = false
      const look = (): void => {
        const answers = this.#members.map(({ answer }) => answer)
        const usable = answers.filter((answer) => answer?.status === 'completed').length
        const missing = answers.filter((answer) => answer === null).length
        const isLive = this.#merged.voice.visible && this.#leader !== null && answers[this.#leader] === null
        const over =
          missing === 0 || (!isLive && usable >= least && (isLate || quorum !== null || this.#isDecided(answers)))
        if (over) {
          stop()
          resolve()
        }
      }
      const stop =
        deadlineMs === null
          ? () => {}
          : this.#stages.asking.after(deadlineMs, () => {
              isLate = true
              look()
            })
      for (const { done } of this.#members) {
        void done.then(({ status }) => {
          const answered = this.#members.filter(({ answer }) => answer?.status === 'completed').length
          // where a quorum is asked for, there may still be no answer
          if (status === 'completed' && answered >= least && !this.#abort.aborted)
            this.#merged.voice.progress(`${answered} of ${this.#members.length} answered`)
          look()
        })
      }
    })
  }

  #isDecided(answers: readonly (MemberAnswer | null)[]): boolean {
    if (this.#ask.merge === 'best_of') {
      const open = answers.map((answer, index) => (answer !== null && answer.status !== 'completed' ? -Infinity : this.#qualities[index]!))
      const leader = knownLeader(open)
      return leader !== null && answers[leader]?.status === 'completed'
    }
    if (this.#ask.merge !== 'vote') return false
    const voters = answers.map((answer, index) => this.#voter(answer, index))
    const missingWeight = voters.reduce((sum, { weight }, index) => sum + (answers[index] === null ? weight : 0), 0)
    return isCertain(voters, missingWeight)
  }

  #voter(answer: MemberAnswer | null, index: number): Voter {
    const ballot = answer?.status === 'completed' ? ballotOf(answer.output, this.#json) : null
    const quality = this.#qualities[index] ?? 0
    return { ballot, quality, weight: this.#ask.weighted ? weightOf(quality) : 1 }
  }

  async #merge(asked: readonly MemberAnswer[]): Promise<void> {
    const leader = this.#leader === null ? null : asked[this.#leader]!
    if (leader !== null && this.#merged.voice.visible) {
      if (leader.status === 'completed' || leader.status === 'incomplete') return this.#finish(leader, 'quality', asked)
      return this.#finish(leader, 'quality', asked, null, true)
    }
    const whole = asked.filter(({ status }) => status === 'completed')
    // an answer that its limit cut short stands only where no other is whole
    const usable = whole.length > 0 ? whole : asked.filter(({ status }) => status === 'incomplete')
    const least = this.#ask.quorum ?? 1
    if (usable.length === 0) throw this.#errorOfTheBest(asked)
    if (usable.length < least) {
      throw new HomingError('quorum_missed', { answered: usable.length, asked: asked.length, quorum: least })
    }
    const votes = countVotes(asked.map((answer, index) => this.#voter(answer, index)))
    if (usable.length === 1) return this.#finish(usable[0]!, 'only_answer', asked, votes)
    switch (this.#ask.merge) {
      case 'vote':
        return this.#finishByVotes(asked, usable, votes)
      case 'best_of':
        return this.#finishByScore(asked, usable, votes)
      case 'judge':
        return this.#finishByJudge(asked, usable, votes)
      case 'synthesis':
        return this.#finishByWriter(asked, usable, votes)
    }
  }

  #finishByVotes(asked: readonly MemberAnswer[], usable: readonly MemberAnswer[], votes: VoteResult | null): Promise<void> {
    if (votes === null) return this.#finishByScore(asked, usable, votes)
    return this.#finish(asked[votes.winner]!, votes.decidedBy, asked, votes)
  }

  #finishByScore(asked: readonly MemberAnswer[], usable: readonly MemberAnswer[], votes: VoteResult | null): Promise<void> {
    const scored = usable.map((answer) => ({ quality: this.#qualityOf(asked, answer), confidence: answer.confidence }))
    const { winner, decidedBy } = bestOf(scored)
    return this.#finish(usable[winner]!, decidedBy, asked, votes)
  }

  async #finishByJudge(asked: readonly MemberAnswer[], usable: readonly MemberAnswer[], votes: VoteResult | null): Promise<void> {
    // nothing to judge where all say the same
    if (votes !== null && votes.agreement === 1 && usable.every((answer) => votes.groups[asked.indexOf(answer)] !== null))
      return this.#finishByVotes(asked, usable, votes)
    const order = shuffled(usable, this.#stages.asking.random)
    const prompt = judgePrompt(order.map(shown))
    const most = Math.min(this.#maxOutputTokens ?? JUDGE_OUTPUT_TOKENS, JUDGE_OUTPUT_TOKENS)
    const options = { stream: false, maxOutputTokens: most, logprobs: false }
    const turn = followUpTurn(this.#base, this.#ask.judge!, prompt, 'judge', options, this.#stages)
    const judged = await this.#run({ turn, role: 'judge' }).done
    if (this.#abort.aborted) return
    const all = [...asked, judged]
    const verdict = judged.status === 'completed' ? readVerdict(textOfAnswer(judged.output), order.length) : null
    if (verdict !== null) return this.#finish(order[verdict]!, 'verdict', all, votes)
    this.#stages.asking.fallback(judged.status === 'completed' ? 'ensemble_verdict_unreadable' : 'ensemble_judge_failed')
    return this.#finishByVotes(all, usable, votes)
  }

  async #finishByWriter(asked: readonly MemberAnswer[], usable: readonly MemberAnswer[], votes: VoteResult | null): Promise<void> {
    const best = bestOf(usable.map((answer) => ({ quality: this.#qualityOf(asked, answer), confidence: null }))).winner
    const writer = this.#ask.writer ?? usable[best]!.model
    const options = { stream: this.#base.stream, maxOutputTokens: this.#maxOutputTokens, logprobs: false }
    const turn = followUpTurn(this.#base, writer, synthesisPrompt(usable.map(shown)), 'writer', options, this.#stages)
    const written = await this.#run({ turn, role: 'writer', ...(this.#base.stream ? { live: this.#live } : {}) }).done
    if (this.#abort.aborted) return
    const all = [...asked, written]
    if (written.status === 'completed' || written.status === 'incomplete') return this.#finish(written, 'synthesis', all, votes)
    if (this.#merged.voice.visible) return this.#finish(written, 'synthesis', all, votes, true)
    this.#stages.asking.fallback('ensemble_writer_failed')
    return this.#finishByVotes(all, usable, votes)
  }

  #finish(
    answer: MemberAnswer,
    decidedBy: DecidedBy,
    asked: readonly MemberAnswer[],
    votes: VoteResult | null = null,
    isBroken = false,
  ): Promise<void> {
    const group = votes?.groups[asked.indexOf(answer)] ?? null
    const cast = votes?.groups.filter((number) => number !== null).length ?? 0
    const agree = votes?.groups.filter((number) => number === group).length ?? 0
    const note: AskingNote = {
      merge: this.#ask.merge,
      decidedBy,
      chosen: answer.id,
      ...(group === null ? {} : { agreement: agree / cast }),
      members: asked.map((member, index) => memberNote(member, votes?.groups[index] ?? null)),
    }
    return isBroken ? this.#merged.finishBroken({ answer, note, asked }) : this.#merged.finish({ answer, note, asked })
  }

  #qualityOf(asked: readonly MemberAnswer[], answer: MemberAnswer): number {
    return this.#qualities[asked.indexOf(answer)] ?? 0
  }

  #errorOfTheBest(asked: readonly MemberAnswer[]): HomingError {
    let best: HomingError | null = null
    let most = -Infinity
    asked.forEach(({ error }, index) => {
      const quality = this.#qualities[index] ?? 0
      if (error === null || (best !== null && quality <= most)) return
      best = error
      most = quality
    })
    return best ?? new HomingError('backend_error', { why: 'No member of the ensemble answered.' })
  }
}

/** An answer as a judge or a writer sees it: its text, and its calls of tools as JSON. */
function shown({ output }: MemberAnswer): string {
  const calls = output.filter(({ type }) => type.endsWith('_call'))
  const told = calls.map((call) => `[calls ${String(call['name'])} with ${String(call['arguments'] ?? call['input'] ?? '')}]`)
  return [textOfAnswer(output), ...told].filter((text) => text !== '').join('\n')
}

/** Fisher and Yates. */
function shuffled<T>(values: readonly T[], random: () => number): readonly T[] {
  const order = [...values]
  for (let at = order.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1))
    const held = order[at]!
    order[at] = order[other]!
    order[other] = held
  }
  return order
}
