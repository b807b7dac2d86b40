/** The AI SDK with its OpenAI provider, unmodified, against a gateway whose engine follows a script. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { createOpenAI, type OpenAIProvider } from '@ai-sdk/openai'
import { APICallError, generateObject, generateText, Output, stepCountIs, streamText, tool, type ModelMessage } from 'ai'
import { z } from 'zod'
import { isObject, type JsonObject } from '../../src/model/json.ts'
import { checkContract } from './contract.ts'
import { openHouse, type House } from './house.ts'
import { messagesOf, MODEL, type ScriptedAnswer } from './scripted-engine.ts'
import type { Exchange } from './tap.ts'

const seen: Exchange[] = []

async function withHouse(answers: readonly ScriptedAnswer[], run: (openai: OpenAIProvider, house: House) => Promise<void>): Promise<void> {
  const house = await openHouse((_body, request) => answers[request] ?? { text: `answer ${request}` })
  try {
    await run(createOpenAI({ baseURL: house.baseUrl, apiKey: 'any' }), house)
  } finally {
    await house.close()
    seen.push(...house.exchanges)
  }
}

const inputOf = (exchange: Exchange): readonly JsonObject[] => (JSON.parse(exchange.requestBody.toString()) as { input: readonly JsonObject[] }).input
const typesOf = (exchange: Exchange): string[] => inputOf(exchange).map((item) => String(item['type'] ?? item['role']))

const weather = tool({
  description: 'Weather of a city', inputSchema: z.object({ city: z.string() }),
  execute: ({ city }) => Promise.resolve({ city, degrees: city === 'Oslo' ? -5 : 21 }),
})

after(() => {
  const kinds = checkContract(seen)
  assert.ok(kinds.has('response') && kinds.has('response.completed'))
})

test('the second turn names the first answer by item_reference, and the engine sees its text', async () => {
  await withHouse([{ text: 'Hello, Ada.' }, { text: 'Ada.' }], async (openai, { engine, exchanges }) => {
    const messages: ModelMessage[] = [{ role: 'user', content: 'I am Ada.' }]
    const first = await generateText({ model: openai(MODEL), messages })
    assert.equal(first.text, 'Hello, Ada.')
    messages.push(...first.response.messages, { role: 'user', content: 'Who am I?' })
    const second = await generateText({ model: openai(MODEL), messages })
    assert.equal(second.text, 'Ada.')
    assert.deepEqual(typesOf(exchanges[1]!), ['user', 'item_reference', 'user'], 'the client still behaves so')
    assert.deepEqual(messagesOf(engine.requests[1]).map((message) => message['content']), ['I am Ada.', 'Hello, Ada.', 'Who am I?'])
    assert.ok(second.usage.inputTokenDetails.cacheReadTokens! > 0)
    const chained = await generateText({
      model: openai(MODEL), prompt: 'And?', providerOptions: { openai: { previousResponseId: String(second.response.id) } },
    })
    assert.equal(chained.text, 'answer 2')
    assert.equal(messagesOf(engine.requests[2]).length, 5)
  })
})

test('generateText runs tools over several steps, parallel calls among them', async () => {
  const calls = [{ name: 'weather', arguments: '{"city": "Oslo"}' }, { name: 'weather', arguments: '{"city": "Rome"}' }]
  await withHouse([{ text: 'I look.', calls }, { calls: [{ name: 'weather', arguments: '{"city": "Oslo"}' }] }, { text: 'Cold and warm.' }], async (openai, { engine, exchanges }) => {
    const { text, steps } = await generateText({ model: openai(MODEL), prompt: 'Weather?', tools: { weather }, stopWhen: stepCountIs(5) })
    assert.equal(text, 'Cold and warm.')
    assert.deepEqual(steps.map((step) => [step.finishReason, step.toolResults.map((result) => (isObject(result.output) ? result.output['degrees'] : null))]), [
      ['tool-calls', [-5, 21]], ['tool-calls', [-5]], ['stop', []],
    ])
    assert.deepEqual(messagesOf(engine.requests[2]).map((message) => message['role']), ['user', 'assistant', 'tool', 'tool', 'assistant', 'tool'])
    assert.equal(messagesOf(engine.requests[2])[1]?.['content'], 'I look.')
    assert.ok(typesOf(exchanges[1]!).includes('item_reference'))
  })
})

test('a model with reasoning keeps its thoughts through a tool call', async () => {
  await withHouse([{ reasoning: 'A tool is needed.', calls: [{ name: 'weather', arguments: '{"city":"Oslo"}' }] }, { text: 'Cold.' }], async (openai, { engine }) => {
    const { text, steps } = await generateText({
      model: openai(MODEL), prompt: 'Weather?', tools: { weather }, stopWhen: stepCountIs(3),
      providerOptions: { openai: { reasoningSummary: 'auto', forceReasoning: true } },
    })
    assert.equal(text, 'Cold.')
    assert.equal(steps[0]?.reasoningText, 'A tool is needed.')
    assert.equal(messagesOf(engine.requests[1])[1]?.['reasoning_content'], 'A tool is needed.')
  })
})

test('without storing, the whole history is sent and nothing is referred to', async () => {
  await withHouse([{ calls: [{ name: 'weather', arguments: '{"city":"Oslo"}' }] }, { text: 'Cold.' }], async (openai, { exchanges }) => {
    const { text } = await generateText({
      model: openai(MODEL), prompt: 'Weather?', tools: { weather }, stopWhen: stepCountIs(3), providerOptions: { openai: { store: false } },
    })
    assert.equal(text, 'Cold.')
    assert.ok(!typesOf(exchanges[1]!).includes('item_reference'))
  })
})

test('streamText gives text, thoughts, tool calls and usage as they come', async () => {
  await withHouse([{ reasoning: 'Hm.', text: 'I look.', calls: [{ name: 'weather', arguments: '{"city":"Rome"}' }] }, { text: 'It is warm in Rome.' }], async (openai) => {
    const result = streamText({ model: openai(MODEL), prompt: 'Weather?', tools: { weather }, stopWhen: stepCountIs(3) })
    const parts = new Map<string, string>()
    for await (const part of result.fullStream) {
      assert.notEqual(part.type, 'error')
      const text = part.type === 'text-delta' || part.type === 'reasoning-delta' ? part.text : ''
      parts.set(part.type, (parts.get(part.type) ?? '') + text)
    }
    assert.equal(parts.get('reasoning-delta'), 'Hm.')
    assert.equal(parts.get('text-delta'), 'I look.It is warm in Rome.')
    for (const kind of ['tool-input-delta', 'tool-call', 'tool-result', 'finish']) assert.ok(parts.has(kind), kind)
    assert.ok((await result.totalUsage).outputTokens! > 0)
    assert.equal(await result.finishReason, 'stop')
  })
})

test('objects: generateObject, an output of streamText, and what the engine is told of the schema', async () => {
  const schema = z.object({ name: z.string(), age: z.number() })
  const text = '{"name":"Ada","age":36}'
  await withHouse([{ text }, { text }], async (openai, { engine }) => {
    assert.deepEqual((await generateObject({ model: openai(MODEL), schema, prompt: 'who' })).object, { name: 'Ada', age: 36 })
    const streamed = streamText({ model: openai(MODEL), output: Output.object({ schema }), prompt: 'who' })
    assert.deepEqual(await streamed.output, { name: 'Ada', age: 36 })
    for (const request of engine.requests) assert.equal((request['response_format'] as JsonObject)['type'], 'json_schema')
  })
})

test('a cut answer and a refusal are told apart', async () => {
  const body = { error: { message: 'too long for this engine', type: 'invalid_request_error' } }
  await withHouse([{ text: 'cut of', finish: 'length' }, { refusal: { status: 400, body } }], async (openai) => {
    assert.equal((await generateText({ model: openai(MODEL), prompt: 'x', maxOutputTokens: 16 })).finishReason, 'length')
    await assert.rejects(generateText({ model: openai(MODEL), prompt: 'x', maxRetries: 0 }), (error) => {
      assert.ok(APICallError.isInstance(error))
      assert.equal(error.statusCode, 400)
      assert.match(error.message, /too long for this engine/)
      return true
    })
  })
})

test('the chat model of the provider works too', async () => {
  await withHouse([{ calls: [{ name: 'weather', arguments: '{"city":"Oslo"}' }] }, { text: 'Cold.' }, { text: 'in pieces' }], async (openai) => {
    assert.equal((await generateText({ model: openai.chat(MODEL), prompt: 'Weather?', tools: { weather }, stopWhen: stepCountIs(3) })).text, 'Cold.')
    assert.equal(await streamText({ model: openai.chat(MODEL), prompt: 'x' }).text, 'in pieces')
  })
})
