/** Reactions as people word them, read by the shipped fingerprint: what is taken for a sign, and what only sounds like one. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Fingerprinter } from '../../src/fingerprint/fingerprinter.ts'
import { newsOf, signsOfNextTurn } from '../../src/learn/next-turn-signals.ts'
import { sketchOf } from '../../src/learn/question-sketch.ts'
import { foundSigns, type Signal } from '../../src/learn/signals.ts'
import { shipped } from '../fingerprint/shipped.ts'

const QUESTION = 'How do I sort a list in Python?'
const ANSWER = 'Use sorted(items), which returns a new list.'
const fingerprinter = new Fingerprinter(shipped)

function reactionTo(said: string): Signal[] {
  const state = fingerprinter.begin()
  fingerprinter.update(state, 'user', QUESTION)
  fingerprinter.update(state, 'assistant', ANSWER)
  const { intent } = fingerprinter.update(state, 'user', said)
  const context = [
    { type: 'message', role: 'user', content: QUESTION },
    { type: 'message', role: 'assistant', content: ANSWER },
    { type: 'message', role: 'user', content: said },
  ]
  return foundSigns(signsOfNextTurn(sketchOf(QUESTION, 1), newsOf(context, 1), intent)).filter((signal) => signal !== 'went_on')
}

const DIALOGUES: readonly (readonly [said: string, found: readonly Signal[]])[] = [
  ["No, that's wrong. It should be in descending order.", ['correction']],
  ["That's incorrect", ['correction']],
  ['wrong', ['correction']],
  ['You made a mistake in step 2', ['correction']],
  ['I said Python 3, not Python 2', ['correction']],
  ['You forgot the second part', ['correction']],
  ["Thanks, but that's wrong", ['correction']],
  ['Nope, try again', ['correction']],
  ['This is useless, it does not work at all.', ['complaint']],
  ['Your answer is terrible', ['complaint']],
  ['Thanks, that works!', ['thanks']],
  ['Great answer, thank you so much!', ['thanks']],
  ['thank you', ['thanks']],
  ['How do I sort a list in Python??', ['asked_again']],
  // what only sounds like it
  ['And how do I reverse it?', []],
  ['What is the capital of France?', []],
  ['Why is my code wrong?', []],
  ['What is wrong with this sentence?', []],
  ['Correct the grammar in this sentence: he go home', []],
  ['There is an error in my code, please correct it', []],
  ['My customer complains that the invoice is wrong, write a reply', []],
  ['The user says the app is terrible. What should we answer?', []],
  ['How do I complain about a late train?', []],
  ['Tell me about the worst movies ever', []],
  ['I hate mondays, write me a poem', []],
  ["Translate 'thank you very much' into German", []],
  ['Thank you letter for my boss, please write one', []],
  ['Is that correct?', []],
  ["that's right", []],
  ['No problem, go on', []],
  ['continue', []],
  ['ok', []],
]
for (const [said, found] of DIALOGUES) {
  test(`"${said}" is ${found.length === 0 ? 'no sign' : found.join(', ')}`, () => assert.deepEqual(reactionTo(said), found))
}
