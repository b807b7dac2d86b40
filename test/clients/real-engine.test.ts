/**
 * Real clients, a gateway and real engines: two llama.cpp servers with a 135M model. What is asserted is what the API
 * promises and what the engine reports of its cache, never what the model says. Skipped where no engine can be had;
 * `npm test` says so in a banner.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createOpenAI } from '@ai-sdk/openai'
import { generateText, stepCountIs, tool, type ModelMessage } from 'ai'
import OpenAI from 'openai'
import type { FunctionTool, Response, ResponseCreateParamsNonStreaming } from 'openai/resources/responses/responses'
import { z } from 'zod'
import { checkContract } from './contract.ts'
import { openGateway, repositoryRoot, type Gateway } from './house.ts'
import { runProgram } from './installed.ts'

const MODEL = 'smollm2'
const skip = process.env['HOMING_ENGINES_DIR'] === undefined
  ? `SKIPPED, NO REAL ENGINE: ${process.env['HOMING_NO_ENGINE'] ?? 'run it with npm test, which installs one'}`
  : false
const engines = join(repositoryRoot(), 'scripts', 'engines.mjs')
/** What makes a 135M model call a tool every time. */
const CALLING = { tool_choice: 'required', temperature: 0, stop: ['</tool_call>'], logit_bias: [['<', 4], ['tool', 4]] }
const LONG = 'You are the keeper of a small lighthouse and you answer in one short sentence. '.repeat(12)

let folder = ''
let gateway: Gateway
let client: OpenAI

before(async () => {
  if (skip !== false) return
  folder = mkdtempSync(join(tmpdir(), 'homing-clients-'))
  const args = [engines, 'up', '--dir', folder, '--n', '2', '--slots', '2', '--context', '4096', '--stop-with', String(process.pid)]
  const { code, output } = await runProgram(process.execPath, args)
  assert.equal(code, 0, output)
  const urls = output.split('\n').filter((line) => line.startsWith('{')).map((line) => (JSON.parse(line) as { url: string }).url)
  assert.equal(urls.length, 2)
  gateway = await openGateway(urls)
  client = new OpenAI({ baseURL: gateway.baseUrl, apiKey: 'any', maxRetries: 0 })
})

after(async () => {
  if (skip !== false) return
  await gateway?.close()
  await runProgram(process.execPath, [engines, 'down', '--dir', folder])
  rmSync(folder, { recursive: true, force: true })
  checkContract(gateway.exchanges)
})

test('three turns by previous_response_id stay on one engine and find their cache there', { skip }, async () => {
  let last: { response: Response; backend: string } | null = null
  for (const input of ['Who are you?', 'What do you see?', 'Is there a ship?']) {
    const previous: string | null = last === null ? null : last.response.id
    const asked: ResponseCreateParamsNonStreaming = { model: MODEL, input, instructions: LONG, max_output_tokens: 24, temperature: 0, previous_response_id: previous }
    const { data, response } = await client.responses.create(asked).withResponse()
    const backend = response.headers.get('x-homing-backend')!
    assert.ok(data.output_text.length > 0)
    if (last !== null) {
      assert.equal(backend, last.backend)
      const { input_tokens: prompt, input_tokens_details: { cached_tokens: cached } } = data.usage!
      assert.ok(cached > last.response.usage!.input_tokens - 8, `cached ${cached} of ${prompt}, earlier prompt ${last.response.usage!.input_tokens}`)
    }
    last = { response: data, backend }
  }
})

test('a client that sends its whole history is recognised: the AI SDK finds its cache on the second turn', { skip }, async () => {
  const openai = createOpenAI({ baseURL: gateway.baseUrl, apiKey: 'any' })
  const messages: ModelMessage[] = [{ role: 'user', content: `${LONG.toUpperCase()} Who are you?` }]
  const asked = { model: openai(MODEL), maxOutputTokens: 24, temperature: 0 }
  const first = await generateText({ ...asked, messages })
  messages.push(...first.response.messages, { role: 'user', content: 'And who am I?' })
  const second = await generateText({ ...asked, messages })
  assert.ok(second.usage.inputTokenDetails.cacheReadTokens! > first.usage.inputTokens! - 8)
})

test('a stream that ends by the limit is incomplete, and what was said can be retrieved', { skip }, async () => {
  const final = await client.responses.stream({ model: MODEL, input: 'Tell a long story.', max_output_tokens: 3 }).finalResponse()
  assert.equal(final.status, 'incomplete')
  assert.equal(final.incomplete_details?.reason, 'max_output_tokens')
  assert.equal((await client.responses.retrieve(final.id)).output_text, final.output_text)
})

test('a tool that the model calls makes its round trip', { skip }, async () => {
  const weather: FunctionTool = {
    type: 'function', name: 'get_weather', description: 'Weather of a city', strict: null,
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  }
  const asked = { model: MODEL, input: 'What is the weather in Oslo? Call the tool.', tools: [weather], max_output_tokens: 64, ...CALLING }
  const first = await client.responses.create(asked as unknown as ResponseCreateParamsNonStreaming)
  const call = first.output.find((item) => item.type === 'function_call')
  assert.ok(call !== undefined, JSON.stringify(first.output))
  assert.equal(call.name, 'get_weather')
  assert.equal(typeof JSON.parse(call.arguments), 'object')
  const second = await client.responses.create({
    model: MODEL, previous_response_id: first.id, max_output_tokens: 16, input: [{ type: 'function_call_output', call_id: call.call_id, output: 'snow' }],
  })
  assert.ok(['completed', 'incomplete'].includes(second.status!))
  assert.ok(second.usage!.input_tokens_details.cached_tokens > 0)
})

test('the AI SDK runs a tool that a real model called', { skip }, async () => {
  const called: string[] = []
  const openai = createOpenAI({
    baseURL: gateway.baseUrl, apiKey: 'any',
    // the engine's own fields, which no client knows: the first request only, since the answer is to be text
    fetch: (url, init) => {
      const body = JSON.parse(String(init?.body)) as Record<string, unknown>
      return fetch(url as string, { ...init, body: JSON.stringify(called.length === 0 ? { ...body, ...CALLING } : { ...body, tool_choice: 'none' }) } as RequestInit)
    },
  })
  const { steps } = await generateText({
    model: openai.responses(MODEL), prompt: 'What is the weather in Rome? Call the tool.', maxOutputTokens: 64, temperature: 0, stopWhen: stepCountIs(2),
    tools: {
      get_weather: tool({
        description: 'Weather of a city', inputSchema: z.object({ city: z.string() }),
        execute: ({ city }) => {
          called.push(city)
          return 'sun'
        },
      }),
    },
  })
  assert.equal(called.length, steps[0]?.toolCalls.length)
  assert.ok(called.length > 0)
  assert.equal(steps.length, 2)
})

test('structured output keeps a real model to its schema', { skip }, async () => {
  const schema = { type: 'object', properties: { city: { type: 'string', maxLength: 12 }, warm: { type: 'boolean' } }, required: ['city', 'warm'], additionalProperties: false }
  const answer = await client.responses.create({
    model: MODEL, input: 'Name a city and say whether it is warm.', temperature: 0, max_output_tokens: 96, text: { format: { type: 'json_schema', name: 'city', schema, strict: true } },
  })
  assert.equal(answer.status, 'completed', answer.output_text)
  assert.deepEqual(Object.keys(JSON.parse(answer.output_text) as object).sort(), ['city', 'warm'])
})
