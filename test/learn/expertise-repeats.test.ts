import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Expertise } from '../../src/learn/expertise.ts'
import { Repeats } from '../../src/learn/expertise-repeats.ts'
import type { Subject } from '../../src/model/quality.ts'

const subject = (complexity: number): Subject => ({ topics: [['math', 0.9], ['physics', 0.1]], intent: ['solve', 0.8], inScope: 0.9, complexity })

test('n outcomes of one question and model count as the square root of n questions', () => {
  const repeats = new Repeats()
  let sum = 0
  for (let n = 0; n < 25; n++) sum += repeats.share('a', subject(0.5), 1)
  assert.ok(Math.abs(sum - 5) < 1e-9, String(sum))
  assert.equal(repeats.share('b', subject(0.5), 1), 1, 'another model')
  assert.equal(repeats.share('a', subject(0.6), 1), 1, 'another question')
})

test('what is taken back counts what it counted, and leaves no trace', () => {
  const repeats = new Repeats()
  const first = repeats.share('a', subject(0.5), 1)
  const second = repeats.share('a', subject(0.5), 1)
  assert.equal(repeats.share('a', subject(0.5), -1), second)
  assert.equal(repeats.share('a', subject(0.5), 1), second)
  repeats.share('a', subject(0.5), -1)
  assert.equal(repeats.share('a', subject(0.5), -1), first)
  assert.equal(repeats.share('a', subject(0.5), 1), 1)
})

test('turns that nobody read are not taken for one question', () => {
  const repeats = new Repeats()
  const unread: Subject = { topics: [], intent: ['unknown', 0], inScope: 0, complexity: 0.5 }
  for (let n = 0; n < 3; n++) assert.equal(repeats.share('a', unread, 1), 1)
  assert.equal(repeats.share('a', unread, -1), 1)
})

test('one question asked a hundred times is believed less than a hundred questions asked once', () => {
  const learner = (): Expertise => new Expertise({ halfLifeMs: null, exploration: null, shareBetweenTenants: false, priors: {}, random: () => 0.5, wallMs: () => 0 })
  const [one, many] = [learner(), learner()]
  for (let n = 0; n < 100; n++) {
    one.observe({ tenant: 't', model: 'a', subject: subject(0.5), score: 1, weight: 1, atMs: 0 })
    many.observe({ tenant: 't', model: 'a', subject: subject(n / 100), score: 1, weight: 1, atMs: 0 })
  }
  const of = (from: Expertise) => from.expect('t', ['a'], subject(0.5))[0]!
  assert.ok(of(one).deviation > of(many).deviation)
  assert.ok(Math.abs(of(one).observations - 10) < 1e-6 && Math.abs(of(many).observations - 100) < 1e-6)
})
