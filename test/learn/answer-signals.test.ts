/** What an answer says against itself: tables of what was asked for and answered. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { refusesInWords, signsOfAnswer, type Answered, type AskedFor } from '../../src/learn/answer-signals.ts'
import { foundSigns, SIGNALS, type Signal } from '../../src/learn/signals.ts'
import type { JsonObject } from '../../src/model/json.ts'

const SCHEMA: JsonObject = {
  type: 'object',
  properties: { city: { type: 'string' }, days: { type: 'integer' }, unit: { enum: ['c', 'f'] }, tags: { type: 'array', items: { type: 'string' } } },
  required: ['city', 'days'],
  additionalProperties: false,
}
const TOOL: JsonObject = { type: 'function', name: 'weather', parameters: SCHEMA }

const asked = (body: JsonObject = {}, more: Partial<AskedFor> = {}): AskedFor => ({
  endpoint: 'responses', body, effectiveTools: [], maxOutputTokens: null, stream: true, ...more,
})
const text = (said: string): Answered['output'] => [{ type: 'message', role: 'assistant', content: [{ type: 'output_text', text: said }] }]
const call = (args: string, name = 'weather', more: JsonObject = {}): Answered['output'] => [{ type: 'function_call', call_id: 'c1', name, arguments: args, ...more }]
const says = (said: string): Answered => ({ status: 'completed', cut: null, output: text(said) })
const calls = (...args: Parameters<typeof call>): Answered => ({ status: 'completed', cut: null, output: call(...args) })

const sought = (of: AskedFor, answered: Answered): Signal[] => {
  const { evidence } = signsOfAnswer(of, answered)
  return SIGNALS.filter((_, sign) => (evidence.sought & (1 << sign)) !== 0)
}
const found = (of: AskedFor, answered: Answered): Signal[] => foundSigns(signsOfAnswer(of, answered).evidence)

const JSON_OBJECT = asked({ text: { format: { type: 'json_object' } } })
const JSON_SCHEMA = asked({ text: { format: { type: 'json_schema', name: 'n', schema: SCHEMA } } })
const CHAT_SCHEMA = asked({ response_format: { type: 'json_schema', json_schema: { name: 'n', schema: SCHEMA } } }, { endpoint: 'chat' })
const GOOD = '{"city":"Rome","days":3}'

const DOCUMENTS: readonly (readonly [why: string, of: AskedFor, said: string, invalid: boolean])[] = [
  ['an object', JSON_OBJECT, '{"a":1}', false],
  ['white space around it', JSON_OBJECT, '\n {"a":1}\n', false],
  ['prose', JSON_OBJECT, 'Here you are.', true],
  ['an object in a fence, which no client parses', JSON_OBJECT, '```json\n{"a":1}\n```', true],
  ['half an object', JSON_OBJECT, '{"a":', true],
  ['a list where an object was asked for', JSON_OBJECT, '[1]', true],
  ['what the schema asks for', JSON_SCHEMA, GOOD, false],
  ['all of it', JSON_SCHEMA, '{"city":"Rome","days":3,"unit":"c","tags":["a"]}', false],
  ['a field missing', JSON_SCHEMA, '{"city":"Rome"}', true],
  ['a wrong type', JSON_SCHEMA, '{"city":"Rome","days":"3"}', true],
  ['a fraction where a whole number was asked for', JSON_SCHEMA, '{"city":"Rome","days":3.5}', true],
  ['a word that is not among those allowed', JSON_SCHEMA, '{"city":"Rome","days":3,"unit":"k"}', true],
  ['a field too many', JSON_SCHEMA, '{"city":"Rome","days":3,"more":1}', true],
  ['a wrong element', JSON_SCHEMA, '{"city":"Rome","days":3,"tags":[1]}', true],
  ['a name that every object inherits is not there', JSON_SCHEMA, '{"toString":"x","days":3}', true],
  ['Chat, as asked', CHAT_SCHEMA, GOOD, false],
  ['Chat, prose', CHAT_SCHEMA, 'Rome', true],
]
for (const [why, of, said, invalid] of DOCUMENTS) {
  test(`JSON was asked for: ${why}: ${invalid ? 'a sign' : 'none'}`, () => {
    assert.ok(sought(of, says(said)).includes('invalid_json'))
    assert.equal(found(of, says(said)).includes('invalid_json'), invalid)
  })
}

test('a schema that says more than is looked at finds no fault where there is none', () => {
  const of = asked({ text: { format: { type: 'json_schema', name: 'n', schema: { $ref: '#/$defs/a', $defs: { a: { type: 'object' } } } } } })
  assert.deepEqual(found(of, says('{"any":"thing"}')), [])
  const either = asked({ text: { format: { type: 'json_schema', name: 'n', schema: { anyOf: [{ type: 'string' }, SCHEMA] } } } })
  assert.deepEqual(found(either, says(GOOD)), [])
  assert.deepEqual(found(either, says('7')), ['invalid_json'])
})

test('JSON is not looked for where none was asked for, where a tool was called, where the model refused and where it was cut off', () => {
  const none: readonly (readonly [AskedFor, Answered])[] = [
    [asked(), says('{"broken')],
    [asked({ text: { format: { type: 'text' } } }), says('no')],
    [JSON_OBJECT, calls(GOOD)],
    [JSON_OBJECT, { status: 'completed', cut: null, output: [{ type: 'message', role: 'assistant', content: [{ type: 'refusal', refusal: 'No.' }] }] }],
    [JSON_OBJECT, { status: 'incomplete', cut: 'max_output_tokens', output: text('{"a":') }],
  ]
  for (const [of, answered] of none) assert.ok(!sought(of, answered).includes('invalid_json'), JSON.stringify(answered))
})

test('a document too long to be checked is no sign, and is told', () => {
  const { evidence, unchecked } = signsOfAnswer(JSON_OBJECT, says(`{"a":"${'x'.repeat(70_000)}`))
  assert.equal(unchecked, true)
  assert.deepEqual(foundSigns(evidence), [])
})

const TOOLS = asked({}, { effectiveTools: [TOOL, { type: 'function', name: 'now', parameters: { type: 'object', properties: {} } }, { type: 'namespace', name: 'crm', tools: [TOOL] }] })
const ARGUMENTS: readonly (readonly [why: string, answered: Answered, bad: boolean | null])[] = [
  ['that fit', calls(GOOD), false],
  ['that are no JSON', calls('{"city":'), true],
  ['that are no object', calls('"Rome"'), true],
  ['without a field', calls('{"city":"Rome"}'), true],
  ['left out where none are needed', calls('', 'now'), false],
  ['left out where some are needed', calls(''), true],
  ['of a tool in a namespace', calls('{"city":1,"days":2}', 'weather', { namespace: 'crm' }), true],
  ['of a tool that is not known', calls('{"q":1}', 'web_search'), null],
  ['no call at all', says('Hello'), null],
  ['two calls, one of them bad', { status: 'completed', cut: null, output: [...call(GOOD), ...call('{}')] }, true],
  ['half a call, cut off', { status: 'incomplete', cut: 'max_output_tokens', output: call('{"ci') }, null],
]
for (const [why, answered, bad] of ARGUMENTS) {
  test(`arguments ${why}: ${bad === null ? 'nothing to tell' : bad ? 'a sign' : 'none'}`, () => {
    assert.equal(sought(TOOLS, answered).includes('bad_arguments'), bad !== null)
    assert.equal(found(TOOLS, answered).includes('bad_arguments'), bad === true)
  })
}

const REFUSALS = [
  "I'm sorry, but I can't help with that.",
  'I’m sorry, but I can’t assist with that request.',
  'Sorry, I cannot do that.',
  'I cannot provide medical advice.',
  'I am unable to help with this.',
  "I'm not able to assist with that.",
  'I can’t comply with this request.',
  'As an AI language model, I cannot create harmful content.',
  'Unfortunately, I can not answer that question.',
  'I must decline to participate in this.',
  'I apologize, but I will not generate such text.',
]
const NO_REFUSALS = [
  "I can't find any error in your code.",
  'I cannot stress enough how important this is.',
  "I'm sorry to hear that your order is late. Let me look it up.",
  'Sorry for the confusion! The answer is 42.',
  'Unfortunately, the function returns None here.',
  'You can help by voting.',
  'We can provide three options.',
  'I can help with that.',
  "If you can't log in, reset your password.",
  'The police cannot help him in the first act.',
  'I will not only show the code but also explain it.',
  '"I cannot help you," said the wizard.',
  "def f(): return \"I can't help\"",
]
test('a refusal in words is told by its beginning, and by what is refused', () => {
  for (const said of REFUSALS) assert.ok(refusesInWords(said), said)
  for (const said of NO_REFUSALS) assert.ok(!refusesInWords(said), said)
})

test('a refusal part, refusing words and a content filter are a refusal', () => {
  const part: Answered = { status: 'completed', cut: null, output: [{ type: 'message', role: 'assistant', content: [{ type: 'refusal', refusal: 'No.' }] }] }
  assert.deepEqual(found(asked(), part), ['refusal'])
  assert.deepEqual(found(asked(), says(REFUSALS[0]!)), ['refusal'])
  assert.deepEqual(found(asked(), { status: 'incomplete', cut: 'content_filter', output: [] }), ['refusal'])
  assert.deepEqual(found(asked(), says('Yes.')), [])
})

test('an answer cut off is a sign unless the client wanted it short', () => {
  const cut: Answered = { status: 'incomplete', cut: 'max_output_tokens', output: text('On and on') }
  assert.deepEqual(found(asked(), cut), ['truncated'])
  assert.deepEqual(found(asked({}, { maxOutputTokens: 4096 }), cut), ['truncated'])
  assert.ok(!sought(asked({}, { maxOutputTokens: 16 }), cut).includes('truncated'))
  assert.deepEqual(found(asked(), says('Done.')), [])
})

test('a client that left a stream is a sign; of an answer that came whole nobody can leave', () => {
  const left: Answered = { status: 'cancelled', cut: null, output: [] }
  assert.deepEqual(sought(asked(), left), ['abandoned'])
  assert.deepEqual(found(asked(), left), ['abandoned'])
  assert.deepEqual(found(asked(), says('All of it.')), [])
  assert.ok(!sought(asked({}, { stream: false }), says('All of it.')).includes('abandoned'))
})
