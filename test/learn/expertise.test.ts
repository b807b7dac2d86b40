import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { seededRandom } from '../../sim/random.ts'
import { Expertise, type ExpertiseOptions } from '../../src/learn/expertise.ts'
import type { Lesson, Subject } from '../../src/model/quality.ts'

let questions = 0
/** No two questions are the same one. */
const another = (): number => (++questions % 16_000) / 16_000
const about = (topic: string, probability = 1): Subject => ({
  topics: probability === 1 ? [[topic, 1]] : [[topic, probability], ['other', 1 - probability]],
  intent: ['ask', 1], inScope: 1, complexity: another(),
})
const build = (changes: Partial<ExpertiseOptions> = {}): Expertise =>
  new Expertise({ halfLifeMs: null, exploration: null, shareBetweenTenants: false, priors: {}, random: seededRandom(1), wallMs: () => 0, ...changes })
const lesson = (model: string, subject: Subject, score: number, changes: Partial<Lesson> = {}): Lesson =>
  ({ tenant: 'a', model, subject, score, weight: 1, atMs: 0, ...changes })
const meanOf = (expertise: Expertise, model: string, subject: Subject, tenant = 'a'): number => expertise.expect(tenant, [model], subject)[0]!.mean

/** Right answers drawn at the model's true quality for each topic in turn. */
function teach(expertise: Expertise, truth: Record<string, Record<string, number>>, rounds: number, seed = 3): void {
  const random = seededRandom(seed)
  for (let round = 0; round < rounds; round++) {
    for (const [model, topics] of Object.entries(truth)) {
      for (const [topic, quality] of Object.entries(topics)) expertise.observe(lesson(model, about(topic), random() < quality ? 1 : 0))
    }
  }
}

describe('what is expected of a model', () => {
  test('after two hundred outcomes a topic, each model is expected to be as good at each topic as it is, within 7 points', () => {
    const expertise = build()
    const truth = { coder: { coding: 0.8, law: 0.4 }, jurist: { coding: 0.5, law: 0.7 } }
    teach(expertise, truth, 200)
    for (const [model, topics] of Object.entries(truth)) {
      for (const [topic, quality] of Object.entries(topics)) {
        const [found] = expertise.expect('a', [model], about(topic))
        assert.ok(Math.abs(found!.mean - quality) < 0.07, `${model}, ${topic}: ${found!.mean}`)
        assert.ok(found!.deviation < 0.06 && found!.observations > 300, `${found!.deviation}, ${found!.observations}`)
      }
    }
  })

  test('the whole posterior counts: half a topic moves an expectation half the way', () => {
    const expertise = build()
    teach(expertise, { coder: { coding: 0.9, other: 0.3 }, plain: { coding: 0.5, other: 0.5 } }, 300)
    const [whole, half, none] = [about('coding'), about('coding', 0.5), about('other')].map((subject) => meanOf(expertise, 'coder', subject))
    assert.ok(Math.abs(half! - (whole! + none!) / 2) < 1e-6, `${whole} ${half} ${none}`)
  })

  test('a model that nobody has seen is expected to be like the others, with more doubt than about any of them', () => {
    const expertise = build()
    teach(expertise, { one: { coding: 0.8, law: 0.3 }, two: { coding: 0.7, law: 0.4 }, three: { coding: 0.75, law: 0.35 } }, 200)
    const [known, unknown] = expertise.expect('a', ['one', 'new'], about('coding'))
    assert.ok(Math.abs(unknown!.mean - 0.75) < 0.1, String(unknown!.mean))
    assert.ok(unknown!.mean - meanOf(expertise, 'new', about('law')) > 0.25, 'a topic that is hard for all is hard for it')
    assert.ok(unknown!.deviation > 2 * known!.deviation)
    assert.equal(unknown!.observations, 0)
  })

  test('where topics make no difference, learning shrinks them away: far less than the noise of each topic is believed', () => {
    const expertise = build()
    const topics = Object.fromEntries(['a', 'b', 'c', 'd', 'e', 'f'].map((topic) => [topic, 0.6]))
    teach(expertise, { one: topics, two: topics }, 200)
    const means = Object.keys(topics).map((topic) => meanOf(expertise, 'one', about(topic)))
    assert.ok(Math.max(...means) - Math.min(...means) < 0.06, `${Math.min(...means)} to ${Math.max(...means)}; the raw means of 200 lie 0.09 apart`)
  })

  test('an outcome that is believed by half teaches half as much as two that are', () => {
    const [half, whole] = [build(), build()]
    for (let n = 0; n < 40; n++) {
      half.observe(lesson('m', about('law'), 1, { weight: 0.5 }))
      if (n % 2 === 0) whole.observe(lesson('m', about('law'), 1))
    }
    assert.ok(Math.abs(meanOf(half, 'm', about('law')) - meanOf(whole, 'm', about('law'))) < 0.02)
    assert.equal(half.expect('a', ['m'], about('law'))[0]!.observations, 20)
  })

  test('scores, weights and times that are none are refused and counted, and move nothing', () => {
    const expertise = build()
    const before = meanOf(expertise, 'm', about('law'))
    for (const bad of [{ score: NaN }, { score: 1.1 }, { score: -0.1 }, { weight: 0 }, { weight: 2 }, { weight: NaN }, { atMs: Infinity }]) {
      expertise.observe({ ...lesson('m', about('law'), 1), ...bad })
    }
    assert.equal(expertise.counts.refused, 7)
    assert.equal(meanOf(expertise, 'm', about('law')), before)
  })
})

describe('tenants', () => {
  test("one tenant's outcomes move another's expectations by nothing, unless sharing is on", () => {
    for (const shareBetweenTenants of [false, true]) {
      const expertise = build({ shareBetweenTenants })
      const before = meanOf(expertise, 'm', about('law'), 'b')
      for (let n = 0; n < 50; n++) expertise.observe(lesson('m', about('law'), 0))
      const moved = before - meanOf(expertise, 'm', about('law'), 'b')
      assert.ok(shareBetweenTenants ? moved > 0.1 : moved === 0, String(moved))
    }
  })

  test('tenants and models are bounded; those that learned longest ago leave, and are counted', () => {
    const expertise = build({ maxTenants: 3, maxModels: 2 })
    for (const tenant of ['a', 'b', 'c', 'a', 'd']) expertise.observe(lesson('m', about('law'), 1, { tenant }))
    assert.equal(expertise.counts.evictedTenants, 1)
    assert.deepEqual(['a', 'b', 'c', 'd'].map((tenant) => expertise.expect(tenant, ['m'], about('law'))[0]!.observations), [2, 0, 1, 1])
    for (const model of ['x', 'y', 'z']) expertise.observe(lesson(model, about('law'), 1))
    assert.deepEqual(expertise.table('a').map(({ model }) => model).sort(), ['y', 'z'])
  })
})

describe('declared expertise', () => {
  test('a declaration is believed before anything is seen, and outweighed by a hundred outcomes', () => {
    const expertise = build({ priors: { coder: { coding: 0.95 } } })
    const [declared, other] = expertise.expect('a', ['coder', 'other'], about('coding'))
    assert.ok(declared!.mean > 0.7 && declared!.mean > other!.mean + 0.2, `${declared!.mean}, ${other!.mean}`)
    const random = seededRandom(4)
    for (let n = 0; n < 100; n++) expertise.observe(lesson('coder', about('coding'), random() < 0.3 ? 1 : 0))
    assert.ok(meanOf(expertise, 'coder', about('coding')) < 0.5)
  })

  test('a backend may bring its declaration after the start', () => {
    const priors: Record<string, Record<string, number>> = {}
    const expertise = build({ priors })
    expertise.observe(lesson('plain', about('coding'), 1))
    priors['coder'] = { coding: 0.95 }
    assert.ok(meanOf(expertise, 'coder', about('coding')) > 0.7)
  })
})

describe('time and change', () => {
  test('after a half-life an outcome counts half, one that arrives late included', () => {
    let now = 0
    const expertise = build({ halfLifeMs: 1000, wallMs: () => now })
    for (let n = 0; n < 8; n++) expertise.observe(lesson('m', about('law'), 1))
    now = 1000
    expertise.observe(lesson('m', about('law'), 1, { atMs: 0 }))
    assert.ok(Math.abs(expertise.expect('a', ['m'], about('law'))[0]!.observations - 4.5) < 1e-6)
  })

  test('a model that drops by 15 points in mid-stream is left within 500 outcomes: mean of 8 seeds', () => {
    let [before, after] = [0, 0]
    for (let seed = 0; seed < 8; seed++) {
      const random = seededRandom(seed)
      const expertise = build({ random: seededRandom(100 + seed) })
      const topics = ['coding', 'law', 'math', 'history']
      let best = 0.7
      const serve = (count: number): number => {
        let used = 0
        for (let n = 0; n < count; n++) {
          const subject = about(topics[Math.floor(4 * random())]!)
          const expected = expertise.expect('a', ['best', 'second'], subject)
          const chosen = expected[0]!.drawn > expected[1]!.drawn ? 'best' : 'second'
          if (chosen === 'best') used++
          expertise.observe(lesson(chosen, subject, random() < (chosen === 'best' ? best : 0.62) ? 1 : 0))
        }
        return used / count
      }
      before += serve(4000) / 8
      best = 0.55
      serve(500)
      after += serve(200) / 8
    }
    assert.ok(before > 0.75 && after < 0.4, `used for ${before} before, for ${after} afterwards`)
  })

  test('without a change none is noticed in 20,000 outcomes', () => {
    const expertise = build()
    teach(expertise, { one: { coding: 0.7, law: 0.5 }, two: { coding: 0.6, law: 0.55 } }, 5000)
    assert.equal(expertise.counts.changes, 0)
  })
})

describe('draws', () => {
  test('while outcomes come, every choice is drawn; where none come, draws fade and the best mean is taken', () => {
    const expertise = build()
    for (let n = 0; n < 20; n++) expertise.observe(lesson('m', about('law'), n % 2))
    const drawn = (): boolean => expertise.expect('a', ['m'], about('law')).some(({ mean, drawn }) => mean !== drawn)
    assert.ok(Array.from({ length: 30 }, drawn).every(Boolean))
    const later = Array.from({ length: 2000 }, drawn).filter(Boolean).length
    assert.ok(later > 0 && later < 100, String(later))
    expertise.observe(lesson('m', about('law'), 1))
    assert.ok(drawn())
  })

  test('an exploration cap bounds the share that is drawn; 0 draws nothing', () => {
    for (const [exploration, least, most] of [[0, 0, 0], [0.1, 60, 140]] as const) {
      const expertise = build({ exploration })
      let drawn = 0
      for (let n = 0; n < 1000; n++) {
        expertise.observe(lesson('m', about('law'), n % 2))
        const [found] = expertise.expect('a', ['m'], about('law'))
        if (found!.drawn !== found!.mean) drawn++
      }
      assert.ok(drawn >= least && drawn <= most, `${exploration}: ${drawn}`)
    }
  })
})
