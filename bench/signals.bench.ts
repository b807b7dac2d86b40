/**
 * `npm run bench:signals`: signs of stated reliabilities and nothing else. Which of them come to be trusted, and how far learning from
 * them gets, beside explicit outcomes and beside simpler rules. Prints tables; `--record FILE` writes them. The second part needs
 * ../shared/data and says so where it is not there. Between them: what a turn costs.
 *
 * A simulated sign is right with its reliability: it is found on bad answers with probability r and on good ones with 1 - r. Every
 * sign starts from the same weak prior (found on bad answers slightly more often), so nothing tells them apart but their agreement.
 * The last set is like what a gateway sees: rare signs, many absent, at the rates of the first column of `GATEWAY`.
 */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { seededRandom, type Random } from '../sim/random.ts'
import { EstimateLevel } from '../src/learn/estimate-level.ts'
import { EvidenceCarry } from '../src/learn/evidence-carry.ts'
import { buildSignals } from '../src/compose/signals.ts'
import { Fingerprinter } from '../src/fingerprint/fingerprinter.ts'
import { loadFingerprintModel } from '../src/fingerprint/fingerprint-model.ts'
import { Expertise } from '../src/learn/expertise.ts'
import { SignalReliability } from '../src/learn/signal-reliability.ts'
import { PRIOR_RATES, SIGNALS, type Evidence, type SignalRates } from '../src/learn/signals.ts'
import type { ConversationItem } from '../src/model/item.ts'
import type { Outcome } from '../src/model/outcome.ts'
import type { Lesson } from '../src/model/quality.ts'
import type { ResolvedTurn } from '../src/model/turn.ts'
import { projectRoot } from '../test/house/root.ts'
import { drawPools, mean, splitOf } from './expertise/pools.ts'
import { follow, type Learner } from './expertise/simulation.ts'
import { outcomeMatrices } from './expertise/subjects.ts'

const { values } = parseArgs({
  options: {
    record: { type: 'string' }, seeds: { type: 'string', default: '4' }, pools: { type: 'string', default: '3' }, outcomes: { type: 'string', default: '8000' },
  },
})
const lines: string[] = []
const say = (line: string): void => {
  lines.push(line)
  console.log(line)
}

type SignalSet = { readonly name: string; readonly truth: readonly SignalRates[]; readonly priors: readonly SignalRates[] }

const WEAK_PRIOR: SignalRates = { good: 0.4, bad: 0.6 }
const coins = (name: string, ...reliabilities: number[]): SignalSet => ({
  name: `${name}: ${reliabilities.join(' ')}`,
  truth: reliabilities.map((right) => ({ good: 1 - right, bad: right })),
  priors: reliabilities.map(() => WEAK_PRIOR),
})

/** Rates that a chat service might have: not the shipped priors, some of which are wrong here, and two are useless. */
const GATEWAY: readonly SignalRates[] = [
  { good: 0.01, bad: 0.15 }, // invalid_json
  { good: 0.03, bad: 0.1 }, // bad_arguments
  { good: 0.02, bad: 0.2 }, // refusal
  { good: 0.08, bad: 0.08 }, // truncated: useless here
  { good: 0.1, bad: 0.1 }, // abandoned: useless here
  { good: 0.05, bad: 0.15 }, // tool_error
  { good: 0.04, bad: 0.2 }, // asked_again
  { good: 0.03, bad: 0.3 }, // correction
  { good: 0.02, bad: 0.1 }, // complaint
  { good: 0.2, bad: 0.04 }, // thanks
  { good: 0.6, bad: 0.5 }, // went_on
]

const SETS: readonly SignalSet[] = [
  coins('mixed', 0.9, 0.8, 0.7, 0.6, 0.5, 0.5),
  coins('one inverted', 0.85, 0.75, 0.7, 0.5, 0.3),
  coins('weak', 0.7, 0.65, 0.65, 0.6, 0.5, 0.5),
  { name: 'as a gateway sees it', truth: GATEWAY, priors: PRIOR_RATES },
]

function shown({ truth }: SignalSet, good: boolean, random: Random): Evidence {
  let found = 0
  truth.forEach((rates, sign) => {
    if (random() < (good ? rates.good : rates.bad)) found |= 1 << sign
  })
  return { sought: 2 ** truth.length - 1, found }
}

/** How far a sign tells good from bad, 1/2: not at all, below: the other way round than the prior says. */
const reliabilityOf = ({ good, bad }: SignalRates, prior: SignalRates): number =>
  0.5 + (prior.bad > prior.good ? 1 : -1) * (bad - good) / 2

const WORDS = 'apple river stone cloud engine paper window garden silver market yellow forest bridge candle orange pocket'.split(' ')

const two = (value: number): string => value.toFixed(2)
const SEEDS = 8
const AFTER = [250, 1000, 4000]

say('## Which signs are trusted, without any outcome\n')
say(`Reliability (1/2: useless) as stated and as recovered after so many answers, mean of ${SEEDS} seeds; 65 % of the answers are good.\n`)
for (const set of SETS) {
  const recovered = AFTER.map(() => set.truth.map(() => [] as number[]))
  for (let seed = 0; seed < SEEDS; seed++) {
    const random = seededRandom(seed)
    const reliability = new SignalReliability({ priors: set.priors })
    for (let answers = 1; answers <= AFTER.at(-1)!; answers++) {
      reliability.add(shown(set, random() < 0.65, random), null)
      const at = AFTER.indexOf(answers)
      if (at < 0) continue
      reliability.learn()
      set.truth.forEach((_, sign) => recovered[at]![sign]!.push(reliabilityOf(reliability.rates(sign), set.priors[sign]!)))
    }
  }
  const stated = set.truth.map((rates, sign) => reliabilityOf(rates, set.priors[sign]!))
  const error = (at: number): number => mean(stated.map((value, sign) => mean(recovered[at]![sign]!.map((found) => Math.abs(found - value)))))
  say(`**${set.name}**\n`)
  say(`| | ${stated.map((_, sign) => (set.priors === PRIOR_RATES ? SIGNALS[sign] : `sign ${sign + 1}`)).join(' | ')} | mean error |`)
  say(`|---${'|---'.repeat(stated.length)}|---|`)
  say(`| stated | ${stated.map(two).join(' | ')} | |`)
  AFTER.forEach((answers, at) => say(`| after ${answers} | ${recovered[at]!.map((found) => two(mean(found))).join(' | ')} | ${error(at).toFixed(3)} |`))
  say('')
}

/** Those of them that models are taught by in the second part. */
const TAUGHT = SETS.filter(({ name }) => !name.startsWith('one inverted'))

type Rule = (set: SignalSet, random: Random) => { readonly lesson: (evidence: Evidence, lesson: Lesson) => { score: number; weight: number } | null }

const learned: Rule = ({ priors }) => {
  const reliability = new SignalReliability({ priors })
  const level = new EstimateLevel()
  const carry = new EvidenceCarry()
  return {
    lesson: (evidence, { model, subject }) => {
      const { estimate, weight } = level.worth(evidence.sought, reliability.verdict(evidence), reliability.share)
      reliability.add(evidence, null)
      return { score: carry.score(`${model}\n${subject.topics[0]![0]}`, estimate, weight), weight }
    },
  }
}
/** Rates that are given, never learned. */
const given = (of: (set: SignalSet) => readonly SignalRates[]): Rule => (set) => {
  const reliability = new SignalReliability({ priors: of(set) })
  const carry = new EvidenceCarry()
  return {
    lesson: (evidence, { model, subject }) => {
      const { estimate, informativeness } = reliability.verdict(evidence)
      return { score: carry.score(`${model}\n${subject.topics[0]![0]}`, estimate, informativeness), weight: informativeness }
    },
  }
}
const without: (how: 'clamped' | 'probability') => Rule = (how) => ({ priors }) => {
  const reliability = new SignalReliability({ priors })
  return {
    lesson: (evidence) => {
      const { estimate, informativeness, probability } = reliability.verdict(evidence)
      reliability.add(evidence, null)
      return how === 'clamped'
        ? { score: Math.max(0, Math.min(1, estimate)), weight: informativeness }
        : { score: probability, weight: Math.abs(2 * probability - 1) }
    },
  }
}
const vote: Rule = ({ priors }) => ({
  lesson: ({ found }) => {
    let bad = 0
    priors.forEach((prior, sign) => {
      if (((found >> sign) & 1) === (prior.bad > prior.good ? 1 : 0)) bad++
    })
    return { score: 1 - bad / priors.length, weight: 1 }
  },
})

const RULES: readonly (readonly [string, Rule | null])[] = [
  ['explicit outcomes', null],
  ['signs, rates learned from agreement', learned],
  ['signs, rates known', given(({ truth }) => truth)],
  ['signs, rates as assumed, never learned', given(({ priors }) => priors)],
  ['learned, scores clamped instead of carried', without('clamped')],
  ['learned, plain posterior weighted by its certainty', without('probability')],
  ['every sign one vote', vote],
]

/** Pools in which perfect labels gain less say nothing about learning: both sides of the quotient are noise. */
const LEAST_HEADROOM = 0.02

levels()
cost()
const data = join(projectRoot(), '..', 'shared', 'data')
if (existsSync(join(data, 'mmlu-pro-topics-quarter.jsonl'))) learning()
else say('The second part needs the outcomes of ../shared/data, which are not here: left out.')

/** Two models that answer by turns: what their lessons say of each, beside what is true. */
function levels(): void {
  const TRUTH = [0.4, 0.9]
  const set = SETS.find(({ truth }) => truth === GATEWAY)!
  say('## What lessons say of a model\n')
  say(`Mean score of the lessons, by their weight, of two models that are right in ${TRUTH.join(' and ')} of their answers; signs ${set.name}, mean of ${SEEDS} seeds, answers 2,000 to 8,000.\n`)
  say('| | model right in .4 | model right in .9 |\n|---|---|---|')
  for (const [name, rule] of RULES) {
    if (rule === null) continue
    const means = TRUTH.map(() => [] as number[])
    for (let seed = 0; seed < SEEDS; seed++) {
      const random = seededRandom(70 + seed)
      const judge = rule(set, random)
      const sums = TRUTH.map(() => ({ score: 0, weight: 0 }))
      for (let answer = 0; answer < 8000; answer++) {
        const model = answer % 2
        const lesson: Lesson = { tenant: 't', model: String(model), subject: { topics: [['math', 1]], intent: ['ask', 1], inScope: 1, complexity: 0.5 }, score: 1, weight: 1, atMs: 0 }
        const given = judge.lesson(shown(set, random() < TRUTH[model]!, random), lesson)
        if (given === null || answer < 2000) continue
        sums[model]!.score += given.weight * given.score
        sums[model]!.weight += given.weight
      }
      sums.forEach(({ score, weight }, model) => means[model]!.push(score / weight))
    }
    say(`| ${name} | ${means.map((found) => two(mean(found))).join(' | ')} |`)
  }
  say('')
}

/** Processor time of all that a turn costs, beside the fingerprint's reading of the same words in the same run. */
function cost(): void {
  const TURNS = 20_000
  const SESSIONS = 3000
  let nowMs = 0
  const signals = buildSignals({ enabled: true, observe: () => {}, compact: (subject) => subject, wallMs: () => nowMs, salt: 5, failed: (error) => { throw error } })
  const said = (role: string, text: string): ConversationItem => ({ type: 'message', role, content: [{ type: role === 'user' ? 'input_text' : 'output_text', text }] })
  const cpuUs = (work: () => void): number => {
    const before = process.cpuUsage()
    work()
    const { user, system } = process.cpuUsage(before)
    return user + system
  }
  const subject = { topics: [['coding', 0.9] as const], intent: ['ask', 0.9] as const, inScope: 0.9, complexity: 0.5 }
  const notice = (text: string): void => {
    for (let at = 0; at < TURNS; at++) {
      nowMs += 100
      const before = at < SESSIONS ? [] : [said('user', text), said('assistant', `answer ${at - SESSIONS}`)]
      const turn = {
        endpoint: 'responses', tenant: 't', session: { id: `s${at % SESSIONS}`, source: 'header' }, context: [...before, said('user', text)], receivedAtMs: nowMs,
        body: {}, effectiveTools: [], maxOutputTokens: null, stream: true, fingerprint: { intent: subject.intent }, subject,
      } as unknown as ResolvedTurn
      signals.notice({ status: 'completed', ttftMs: 3, model: 'm' } as Outcome, turn, { id: `r${at}`, output: [{ ...said('assistant', `answer ${at}`), id: 'msg' }], cut: null })
    }
  }
  const fingerprinter = new Fingerprinter(loadFingerprintModel(join(projectRoot(), 'assets/fingerprint/model.homing')))
  const state = fingerprinter.begin()
  say('## What it costs\n')
  say('Processor time of a turn with everything on (its words read, the answer before it settled, its own remembered, rates learned), as a share of the fingerprint of the same words.\n')
  say('| words | share |\n|---|---|')
  for (const words of [10, 40, 200, 2000]) {
    const text = Array.from({ length: words }, (_, at) => `${WORDS[(at * 7 + (at >> 4)) % WORDS.length]}${at % 5 === 0 ? at % 89 : ''}`).join(' ')
    notice(text)
    const READINGS = Math.ceil(20_000 / words)
    for (let at = 0; at < 200; at++) fingerprinter.update(state, 'user', text)
    const reading = cpuUs(() => { for (let at = 0; at < READINGS; at++) fingerprinter.update(state, 'user', text) }) / READINGS
    const noticing = cpuUs(() => notice(text)) / TURNS
    say(`| ${words} | ${(noticing / reading).toFixed(3)} |`)
    console.error(`${words} words: ${noticing.toFixed(1)} us, fingerprint ${reading.toFixed(1)} us`)
  }
  say('')
  signals.close()
}

function learning(): void {
  const matrix = outcomeMatrices(data).find(({ name }) => name === 'mmlu-pro')!
  const outcomes = Number(values.outcomes)
  const freezeAt = [outcomes / 4, outcomes]
  const splits = Array.from({ length: Number(values.seeds) }, (_, seed) => splitOf(matrix, seededRandom(1000 + seed)))
  const pools = [2, 4, 6].flatMap((size) =>
    drawPools(matrix, splits, { size, count: Number(values.pools), within: null, least: LEAST_HEADROOM }, seededRandom(size)),
  )
  say('## How far learning from signs alone gets\n')
  say(`Share of what perfect topic labels gain over the best single model, on held-out questions (mmlu-pro, crossed topics), and in brackets that gain in points, after ${freezeAt.join(' / ')} answers; ${pools.length} pools of 2, 4 and 6 models, ${values.seeds} seeds, one outcome or its signs per request and only of the model used.\n`)
  say(`| | ${TAUGHT.map(({ name }) => name).join(' | ')} |`)
  say(`|---${'|---'.repeat(TAUGHT.length)}|`)
  for (const [name, rule] of RULES) {
    const cells = TAUGHT.map((set, at) => {
      if (rule === null && at > 0) return ''
      const gains = freezeAt.map(() => 0)
      let perfect = 0
      for (const pool of pools) {
        for (let seed = 0; seed < Number(values.seeds); seed++) {
          const run = follow(pool, splits[seed]!, learnerOf(set, rule, seed), {
            outcomes, freezeAt, subjects: 'crossed', flipped: 0, random: seededRandom(50 + seed),
          })
          perfect += run.perfectGain
          freezeAt.forEach((after, place) => (gains[place]! += run.frozenGain.get(after)!))
        }
      }
      const runs = pools.length * Number(values.seeds)
      return gains.map((gain) => `${two(gain / perfect)} (${((100 * gain) / runs).toFixed(1)})`).join(' / ')
    })
    say(`| ${name} | ${cells.join(' | ')} |`)
  }
}

function learnerOf(set: SignalSet, rule: Rule | null, seed: number): Learner {
  const expertise = new Expertise({
    halfLifeMs: null, exploration: null, shareBetweenTenants: false, priors: {}, random: seededRandom(seed), wallMs: () => 0,
  })
  if (rule === null) return expertise
  const random = seededRandom(900 + seed)
  const judge = rule(set, random)
  return {
    expect: (tenant, models, subject) => expertise.expect(tenant, models, subject),
    observe: (lesson) => {
      const given = judge.lesson(shown(set, lesson.score === 1, random), lesson)
      if (given !== null && given.weight > 0.01) expertise.observe({ ...lesson, ...given })
    },
  }
}

if (values.record !== undefined) writeFileSync(values.record, `${lines.join('\n')}\n`)
