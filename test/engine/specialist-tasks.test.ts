/** The tasks of `scripts/prove/specialisation.mjs`: what is held out was not learned from, and a grader reads as the asker would. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadScript } from '../start/scripts.ts'

type Task = { readonly kind: string; readonly question: string; readonly maxTokens: number; readonly grade: (text: string) => number }
type Tasks = {
  readonly KIND_NAMES: readonly string[]
  readonly seeded: (seed: number) => () => number
  readonly taskOf: (kind: string, random: () => number, heldOut?: boolean) => Task
  readonly heldOutTasks: (count: number, random: () => number) => readonly Task[]
  readonly stream: (count: number, random: () => number) => readonly Task[]
}
type Models = { readonly MODELS: readonly { readonly name: string; readonly parameters: { readonly chat_template?: string } }[] }

const tasks = await loadScript<Tasks>('prove/specialist-tasks.mjs')
const { MODELS } = await loadScript<Models>('prove/specialists.mjs')
const { seeded, taskOf, KIND_NAMES } = tasks

const find = (kind: string, question: RegExp): Task => {
  const random = seeded(3)
  for (let tries = 0; tries < 5000; tries++) {
    const task = taskOf(kind, random)
    if (question.test(task.question)) return task
  }
  throw new Error(`no task of ${kind} is ${question}`)
}

test('what is held out is neither learned from nor shown to a specialist', () => {
  const learned = new Set(tasks.stream(20_000, seeded(1)).map(({ question }) => question))
  const shown = MODELS.map(({ parameters }) => parameters.chat_template ?? '').join('\n')
  for (const { question } of tasks.heldOutTasks(500, seeded(2))) {
    assert.ok(!learned.has(question), question)
    assert.ok(!shown.includes(question), question)
  }
})

test('the same seed asks the same', () => {
  const asked = (): readonly string[] => tasks.stream(50, seeded(7)).map(({ question }) => question)
  assert.deepEqual(asked(), asked())
  assert.deepEqual(new Set(tasks.stream(100, seeded(7)).map(({ kind }) => kind)), new Set(KIND_NAMES))
})

test('a fact has to be named in prose, by its own word', () => {
  const { grade } = find('facts', /capital of Norway/)
  assert.equal(grade('The capital of Norway is Oslo, a city'), 1)
  assert.equal(grade('{"capital": "Oslo"}'), 0)
  assert.equal(grade('The capital of Norway is Bergen.'), 0)
  assert.equal(find('facts', /symbol of carbon/).grade('It is called c.'), 0)
})

test('of a sum the last number counts', () => {
  const { question, grade } = find('sums', /^What is \d+ plus \d+/)
  const [a, b] = [...question.matchAll(/\d+/g)].map(Number) as [number, number]
  assert.equal(grade(`${a} + ${b} = ${a + b}`), 1)
  assert.equal(grade(`${a} + ${b} equals ${a + b}.\n\nThe answer is ${a + b + 1}`), 0)
  assert.equal(grade('I do not know.'), 0)
})

test('a label is one word', () => {
  const { grade } = find('reviews', /terrible/)
  assert.equal(grade('Negative.'), 1)
  assert.equal(grade('positive'), 0)
  assert.equal(grade('The review is negative.'), 0)
})

test('an extraction is JSON with the values that the message holds', () => {
  const { question, grade } = find('extraction', /^Extract name and city as JSON/)
  const [, name, city] = /JSON: (.+) moved to (\w+) last year/.exec(question)!
  assert.equal(grade(JSON.stringify({ name, city })), 1)
  assert.equal(grade(JSON.stringify({ name, city: 'Atlantis' })), 0)
  assert.equal(grade(`Here it is: ${JSON.stringify({ name, city })}`), 0)
  assert.equal(grade('{"name": "'), 0)
})
