import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadConfig, type ConfigError } from '../../src/config.ts'

const read = (rules: object) => loadConfig({ text: JSON.stringify({ model_groups: { auto: ['a', 'b'], m: ['a', 'b'] }, ...rules }), env: {} }).askingRules
const problems = (rules: object): string[] => {
  try {
    read(rules)
    return []
  } catch (error) {
    return (error as ConfigError).problems.map(({ path, message }) => `${path}: ${message}`)
  }
}

test('rules of ensembles and cascades are read with their defaults, ensembles first', () => {
  assert.deepEqual(read({
    cascades: [{ model: 'fast', models: ['small', 'large'] }],
    ensembles: [{ model: 'auto', topics: ['math'], complexity_at_least: 0.5, merge: 'vote' }, { model: 'm', merge: 'judge', judge: 'j', models: ['a', 'b'], deadline: '10s', quorum: 2, max_total_tokens: 9000 }],
  }), [
    { at: 'ensembles[0]', model: 'auto', topics: ['math'], complexityAtLeast: 0.5, asking: { kind: 'ensemble', models: null, n: 3, merge: 'vote', weighted: false, judge: null, writer: null, quorum: null, deadlineMs: null, maxTotalTokens: null } },
    { at: 'ensembles[1]', model: 'm', topics: null, complexityAtLeast: 0, asking: { kind: 'ensemble', models: ['a', 'b'], n: 2, merge: 'judge', weighted: false, judge: 'j', writer: null, quorum: 2, deadlineMs: 10_000, maxTotalTokens: 9000 } },
    { at: 'cascades[0]', model: 'fast', topics: null, complexityAtLeast: 0, asking: { kind: 'cascade', models: ['small', 'large'], confidence: null, samples: 1, maxTotalTokens: null } },
  ])
  assert.deepEqual(read({}), [])
})

test('rules that cannot work are refused with their place and a reason', () => {
  assert.deepEqual(problems({ ensembles: [{ model: 'm' }] }), ['ensembles[0].merge: missing'])
  assert.deepEqual(problems({ ensembles: [{ model: 'm', merge: 'judge' }] }), ["ensembles[0].judge: missing: the merge 'judge' needs a model that judges"])
  assert.deepEqual(problems({ ensembles: [{ model: 'm', merge: 'vote', writer: 'w' }] }), ["ensembles[0].writer: has no part in the merge 'vote'"])
  assert.deepEqual(problems({ ensembles: [{ model: 'm', merge: 'vote', models: ['a', 'b'], n: 3 }] }), ['ensembles[0].n: expected a whole number from 1 to 2'])
  assert.deepEqual(problems({ ensembles: [{ model: 'm', merge: 'vote', n: 9 }] }), ['ensembles[0].n: expected a whole number from 1 to 8'])
  assert.deepEqual(problems({ cascades: [{ model: 'm', models: ['a', 'a'] }] }), ['cascades[0].models: expected 2 to 4 different models, the cheapest first'])
  assert.deepEqual(problems({ cascades: [{ model: 'm', models: ['a', 'b'], confidence: 3, samples: 9 }] }), [
    'cascades[0].confidence: expected a number from 0 to 1', 'cascades[0].samples: expected a whole number from 1 to 5',
  ])
  assert.equal(problems({ ensembles: ['vote'], cascades: {} }).length, 2)
  assert.deepEqual(problems({ ensembles: [{ model: 'alone', merge: 'vote' }] }), ["ensembles[0].models: missing: 'alone' is no group, so the models to ask have to be named"])
})

test('a group without a name is refused', () => {
  assert.deepEqual(problems({ model_groups: { '': ['a'] } }).length, 1)
})
