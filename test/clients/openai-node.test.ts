/** The official client for Node, unmodified, against a gateway whose engine follows a script. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import OpenAI, { AuthenticationError, BadRequestError, NotFoundError, RateLimitError } from 'openai'
import { zodResponsesFunction, zodTextFormat } from 'openai/helpers/zod'
import type { FunctionTool, Response, ResponseInputItem, ResponseStreamEvent } from 'openai/resources/responses/responses'
import { z } from 'zod'
import { uniformFleet } from '../../sim/profile.ts'
import { startFleetServer } from '../../sim/http/fleet-server.ts'
import { checkContract } from './contract.ts'
import { openGateway, openHouse, type Gateway } from './house.ts'
import { messagesOf, MODEL, type Script, type ScriptedAnswer } from './scripted-engine.ts'
import type { Exchange } from './tap.ts'

const seen: Exchange[] = []
const clientOf = (gateway: Gateway, apiKey = 'any'): OpenAI => new OpenAI({ baseURL: gateway.baseUrl, apiKey, maxRetries: 0 })

/** Runs a conversation with a fresh gateway; what passed is judged at the end. */
async function withHouse(
  answers: readonly ScriptedAnswer[] | Script, run: (client: OpenAI, house: Awaited<ReturnType<typeof openHouse>>) => Promise<void>, configuration = '',
): Promise<void> {
  const script: Script = typeof answers === 'function' ? answers : (_body, request) => answers[request] ?? { text: `answer ${request}` }
  const house = await openHouse(script, configuration)
  try {
    await run(clientOf(house), house)
  } finally {
    await house.close()
    seen.push(...house.exchanges)
  }
}

const WEATHER: FunctionTool = {
  type: 'function', name: 'get_weather', description: 'Weather of a city', strict: true,
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false },
}

after(() => {
  const kinds = checkContract(seen)
  for (const kind of ['response', 'response.completed', 'response.incomplete', 'conversation', 'conversation.deleted', 'list']) {
    assert.ok(kinds.has(kind), `no ${kind} was judged`)
  }
})

test('create answers whole, and the second turn by previous_response_id carries the first', async () => {
  await withHouse([{ text: 'Hello, Ada.' }, { text: 'Your name is Ada.' }], async (client, { engine }) => {
    const { data: first, response, request_id: requestId } = await client.responses.create({ model: MODEL, input: 'I am Ada.', instructions: 'Be kind.' }).withResponse()
    assert.equal(first.output_text, 'Hello, Ada.')
    assert.equal(first.status, 'completed')
    assert.equal(requestId, response.headers.get('x-request-id'))
    assert.equal(response.headers.get('x-homing-backend'), new URL(engine.url).host)
    const second = await client.responses.create({ model: MODEL, input: 'Who am I?', previous_response_id: first.id })
    assert.equal(second.output_text, 'Your name is Ada.')
    assert.equal(second.previous_response_id, first.id)
    assert.deepEqual(messagesOf(engine.requests[1]), [
      { role: 'user', content: 'I am Ada.' }, { role: 'assistant', content: 'Hello, Ada.' }, { role: 'user', content: 'Who am I?' },
    ], 'instructions are not inherited, everything else is')
    const third = await client.responses.create({ model: MODEL, input: 'And now?', previous_response_id: second.id })
    assert.ok(third.usage!.input_tokens_details.cached_tokens > 0)
    assert.equal(third.usage!.total_tokens, third.usage!.input_tokens + third.usage!.output_tokens)
  })
})

test('a stream has every delta, and the stream helper returns the final response', async () => {
  await withHouse([{ text: 'one two three' }, { reasoning: 'I think.', text: 'four five' }, { text: 'cut of', finish: 'length' }], async (client) => {
    let text = ''
    let last: ResponseStreamEvent | null = null
    for await (const event of await client.responses.create({ model: MODEL, input: 'count', stream: true })) {
      if (event.type === 'response.output_text.delta') text += event.delta
      last = event
    }
    assert.equal(text, 'one two three')
    assert.equal(last?.type, 'response.completed')

    const helper = client.responses.stream({ model: MODEL, input: 'go on' })
    const snapshots: string[] = []
    helper.on('response.output_text.delta', ({ snapshot }) => snapshots.push(snapshot))
    const final = await helper.finalResponse()
    assert.equal(snapshots.at(-1), 'four five')
    assert.equal(final.output_text, 'four five')
    const [reasoning] = final.output
    assert.ok(reasoning?.type === 'reasoning')
    assert.deepEqual(reasoning.summary, [{ type: 'summary_text', text: 'I think.' }])
    assert.equal((await client.responses.retrieve(final.id)).output_text, 'four five')

    const cut = await client.responses.stream({ model: MODEL, input: 'long', max_output_tokens: 2 }).finalResponse()
    assert.equal(cut.status, 'incomplete')
    assert.equal(cut.incomplete_details?.reason, 'max_output_tokens')
  })
})

test('parallel function calls make a round trip by previous_response_id, tools taken from the parent', async () => {
  const calls = [{ name: 'get_weather', arguments: '{"city": "Oslo"}' }, { name: 'get_weather', arguments: '{"city":"Rome"}' }]
  await withHouse([{ text: 'Let me look.', calls }, { text: 'Cold and warm.' }], async (client, { engine }) => {
    const first = await client.responses.create({ model: MODEL, input: 'Weather in Oslo and Rome?', tools: [WEATHER], parallel_tool_calls: true })
    const asked = first.output.filter((item) => item.type === 'function_call')
    assert.deepEqual(asked.map((call) => [call.name, JSON.parse(call.arguments)]), [['get_weather', { city: 'Oslo' }], ['get_weather', { city: 'Rome' }]])
    const outputs: ResponseInputItem[] = asked.map((call, index) => ({ type: 'function_call_output', call_id: call.call_id, output: index === 0 ? '-5 C' : '21 C' }))
    const second = await client.responses.create({ model: MODEL, input: outputs, previous_response_id: first.id })
    assert.equal(second.output_text, 'Cold and warm.')
    assert.deepEqual(second.tools, first.tools)
    const [, assistant, ...results] = messagesOf(engine.requests[1])
    assert.equal(assistant?.['content'], 'Let me look.')
    const rendered = assistant!['tool_calls'] as unknown as readonly { id: string; function: { arguments: string } }[]
    assert.deepEqual(
      rendered.map((call) => [call.id, call.function.arguments]),
      asked.map((call) => [call.call_id, call.arguments]),
      'one message holds both calls, their bytes kept',
    )
    assert.deepEqual(results, asked.map((call, index) => ({ role: 'tool', tool_call_id: call.call_id, content: index === 0 ? '-5 C' : '21 C' })))
    assert.deepEqual(engine.requests[1]?.['tools'], engine.requests[0]?.['tools'])
  })
})

test('the stream helper assembles streamed calls, and full history without state works too', async () => {
  await withHouse([{ reasoning: 'A tool is needed.', calls: [{ name: 'get_weather', arguments: '{"city":"Oslo"}' }] }, { text: 'Cold.' }], async (client, { engine }) => {
    const final = await client.responses.stream({ model: MODEL, input: 'Weather?', tools: [WEATHER], store: false, include: ['reasoning.encrypted_content'] }).finalResponse()
    const call = final.output.find((item) => item.type === 'function_call')
    assert.equal(call?.arguments, '{"city":"Oslo"}')
    await assert.rejects(client.responses.retrieve(final.id), NotFoundError)
    const history: ResponseInputItem[] = [{ role: 'user', content: 'Weather?' }, ...(final.output as ResponseInputItem[]), { type: 'function_call_output', call_id: call!.call_id, output: '-5 C' }]
    const second = await client.responses.create({ model: MODEL, input: history, tools: [WEATHER], store: false })
    assert.equal(second.output_text, 'Cold.')
    assert.deepEqual(messagesOf(engine.requests[1]).map((message) => message['role']), ['user', 'assistant', 'tool'])
    assert.equal(messagesOf(engine.requests[1])[1]?.['reasoning_content'], 'A tool is needed.')
  })
})

test('a custom tool is called with plain text, and answered', async () => {
  await withHouse([{ calls: [{ name: 'run_sql', arguments: '{"input":"select \\"a\\"\\nfrom t"}' }] }, { text: 'One row.' }], async (client, { engine }) => {
    const tools = [{ type: 'custom' as const, name: 'run_sql', description: 'Runs SQL' }]
    const first = await client.responses.stream({ model: MODEL, input: 'query', tools }).finalResponse()
    const [call] = first.output
    assert.ok(call?.type === 'custom_tool_call')
    assert.equal(call.input, 'select "a"\nfrom t')
    const second = await client.responses.create({
      model: MODEL, previous_response_id: first.id, input: [{ type: 'custom_tool_call_output', call_id: call.call_id, output: '1' }],
    })
    assert.equal(second.output_text, 'One row.')
    assert.deepEqual(messagesOf(engine.requests[1]).at(-1), { role: 'tool', tool_call_id: call.call_id, content: '1' })
  })
})

test('structured output: parse, the zod helpers and a refusal-free schema round trip', async () => {
  const shape = z.object({ name: z.string(), age: z.number() })
  const answer = '{"name":"Ada","age":36}'
  await withHouse([{ text: answer }, { text: answer }, { text: answer }, { calls: [{ name: 'look_up', arguments: '{"name":"Ada","age":1}' }] }], async (client, { engine }) => {
    const schema = { type: 'object', properties: { name: { type: 'string' }, age: { type: 'number' } }, required: ['name', 'age'], additionalProperties: false }
    const plain = await client.responses.create({ model: MODEL, input: 'who', text: { format: { type: 'json_schema', name: 'person', schema, strict: true } } })
    assert.deepEqual(JSON.parse(plain.output_text), { name: 'Ada', age: 36 })
    assert.deepEqual(engine.requests[0]?.['response_format'], { type: 'json_schema', json_schema: { name: 'person', schema, strict: true } })
    const parsed = await client.responses.parse({ model: MODEL, input: 'who', text: { format: zodTextFormat(shape, 'person') } })
    assert.deepEqual(parsed.output_parsed, { name: 'Ada', age: 36 })
    const streamed = await client.responses.stream({ model: MODEL, input: 'who', text: { format: zodTextFormat(shape, 'person') } }).finalResponse()
    assert.deepEqual(streamed.output_parsed, { name: 'Ada', age: 36 })
    const called = await client.responses.parse({ model: MODEL, input: 'who', tools: [zodResponsesFunction({ name: 'look_up', parameters: shape })] })
    const [call] = called.output
    assert.ok(call?.type === 'function_call')
    assert.deepEqual(call.parsed_arguments, { name: 'Ada', age: 1 })
  })
})

test('conversations keep what is said, page it and let it be changed', async () => {
  await withHouse([{ text: 'Nice to meet you.' }, { text: 'Ada.' }], async (client, { engine }) => {
    const conversation = await client.conversations.create({ metadata: { topic: 'names' }, items: [{ type: 'message', role: 'developer', content: 'Be brief.' }] })
    assert.equal(conversation.object, 'conversation')
    assert.deepEqual(conversation.metadata, { topic: 'names' })
    const first = await client.responses.create({ model: MODEL, input: 'I am Ada.', conversation: conversation.id })
    assert.equal(first.conversation?.id, conversation.id)
    const added = await client.conversations.items.create(conversation.id, { items: [{ type: 'message', role: 'user', content: 'By the way:' }] })
    const [note] = added.data
    assert.ok(note?.type === 'message')
    assert.equal(note.status, 'completed')
    await client.responses.stream({ model: MODEL, input: 'who am I?', conversation: { id: conversation.id } }).finalResponse()
    assert.deepEqual(messagesOf(engine.requests[1]).map((message) => message['content']), ['Be brief.', 'I am Ada.', 'Nice to meet you.', 'By the way:', 'who am I?'])

    const roles: string[] = []
    for await (const item of client.conversations.items.list(conversation.id, { order: 'asc', limit: 2 })) if (item.type === 'message') roles.push(item.role)
    assert.deepEqual(roles, ['developer', 'user', 'assistant', 'user', 'user', 'assistant'], 'all pages, in order')
    const page = await client.conversations.items.list(conversation.id, { limit: 1 })
    assert.equal(page.has_more, true)
    assert.equal(page.last_id, page.data[0]?.id)

    const one = await client.conversations.items.retrieve(note.id!, { conversation_id: conversation.id })
    assert.deepEqual(one, note)
    assert.equal((await client.conversations.items.delete(note.id!, { conversation_id: conversation.id })).id, conversation.id)
    await assert.rejects(client.conversations.items.retrieve(note.id!, { conversation_id: conversation.id }), NotFoundError)
    assert.deepEqual((await client.conversations.update(conversation.id, { metadata: { topic: 'other' } })).metadata, { topic: 'other' })
    assert.deepEqual((await client.conversations.retrieve(conversation.id)).metadata, { topic: 'other' })
    assert.equal((await client.conversations.delete(conversation.id)).deleted, true)
    await assert.rejects(client.conversations.retrieve(conversation.id), NotFoundError)
    assert.equal((await client.responses.retrieve(first.id)).output_text, 'Nice to meet you.', 'the response outlives it')
  })
})

test('stored responses: retrieve, input items in both orders and in pages, delete', async () => {
  await withHouse([{ text: 'a' }, { text: 'b' }], async (client) => {
    const input: ResponseInputItem[] = ['1', '2', '3'].map((content) => ({ role: 'user' as const, content }))
    const first = await client.responses.create({ model: MODEL, input, metadata: { n: '1' } })
    assert.deepEqual(await client.responses.retrieve(first.id), first)
    const texts = async (order: 'asc' | 'desc', limit: number): Promise<string[]> => {
      const found: string[] = []
      for await (const item of client.responses.inputItems.list(first.id, { order, limit })) {
        if (item.type === 'message') for (const part of item.content) if (part.type === 'input_text') found.push(part.text)
      }
      return found
    }
    assert.deepEqual(await texts('asc', 2), ['1', '2', '3'])
    assert.deepEqual(await texts('desc', 1), ['3', '2', '1'])
    const fork = await client.responses.create({ model: MODEL, input: 'x', previous_response_id: first.id })
    await client.responses.delete(first.id)
    await assert.rejects(client.responses.retrieve(first.id), NotFoundError)
    assert.equal((await client.responses.retrieve(fork.id)).output_text, 'b')
  })
})

test('chat completions: whole, streamed, with usage, with tools; and the models', async () => {
  const call = { name: 'get_weather', arguments: '{"city":"Oslo"}' }
  await withHouse([{ text: 'whole' }, { text: 'in pieces' }, { text: 'counted' }, { calls: [call] }], async (client, { engine }) => {
    const messages = [{ role: 'user' as const, content: 'hi' }]
    const { data: whole, response } = await client.chat.completions.create({ model: MODEL, messages }).withResponse()
    assert.equal(whole.choices[0]?.message.content, 'whole')
    assert.ok(whole.usage!.total_tokens > 0)
    assert.ok(response.headers.get('x-homing-backend'))
    let text = ''
    for await (const chunk of await client.chat.completions.create({ model: MODEL, messages, stream: true })) {
      assert.equal(chunk.usage ?? null, null)
      text += chunk.choices[0]?.delta.content ?? ''
    }
    assert.equal(text, 'in pieces')
    const counted = await client.chat.completions.stream({ model: MODEL, messages, stream_options: { include_usage: true } }).finalChatCompletion()
    assert.equal(counted.choices[0]?.message.content, 'counted')
    assert.ok(counted.usage!.prompt_tokens > 0)
    const tools = [{ type: 'function' as const, function: { name: WEATHER.name, parameters: WEATHER.parameters! } }]
    const called = await client.chat.completions.stream({ model: MODEL, messages, tools }).finalChatCompletion()
    const [asked] = called.choices[0]!.message.tool_calls!
    assert.ok(asked?.type === 'function')
    assert.deepEqual(asked.function, call)
    assert.deepEqual(engine.requests[3]?.['tools'], tools)

    const models = await client.models.list()
    assert.deepEqual(models.data.map((model) => model.id), [MODEL])
    assert.equal((await client.models.retrieve(MODEL)).object, 'model')
    await assert.rejects(client.models.retrieve('nobody'), NotFoundError)
  })
})

test('errors arrive as the client\'s own classes, with code and param', async () => {
  const tenants = 'tenants: [{ id: acme, keys: [key-a], limits: { requests_per_minute: 6 } }, { id: other, keys: [key-b] }]'
  await withHouse([], async (open, house) => {
    const acme = open.withOptions({ apiKey: 'key-a' })
    const other = open.withOptions({ apiKey: 'key-b' })
    const refused = async (promise: PromiseLike<unknown>, kind: new (...args: never[]) => Error, status: number, code: string, param: string | null): Promise<void> => {
      const error = await Promise.resolve(promise).then(() => assert.fail('it was accepted'), (cause: unknown) => cause)
      assert.ok(error instanceof kind, `${String(error)} is no ${kind.name}`)
      const { status: seenStatus, code: seenCode, param: seenParam } = error as unknown as InstanceType<typeof OpenAI.APIError>
      assert.deepEqual([seenStatus, seenCode, seenParam], [status, code, param])
    }
    await refused(open.responses.create({ model: MODEL, input: 'x' }), AuthenticationError, 401, 'unauthorized', null)
    await refused(acme.responses.create({ model: MODEL, input: 'x', previous_response_id: 'resp_none' }), BadRequestError, 400, 'previous_response_not_found', 'previous_response_id')
    await refused(acme.responses.create({ model: MODEL, input: 'x', temperature: 9 }), BadRequestError, 400, 'invalid_value', 'temperature')
    await refused(acme.responses.create({ model: 'nobody', input: 'x' }), NotFoundError, 404, 'model_not_found', 'model')
    await refused(acme.responses.create({ model: MODEL, input: 'x', tools: [{ type: 'web_search' }], tool_choice: 'required' }), BadRequestError, 400, 'unsupported_tool', 'tool_choice')
    const mine = await acme.responses.create({ model: MODEL, input: 'x' })
    await refused(other.responses.retrieve(mine.id), NotFoundError, 404, 'response_not_found', 'response_id')
    await refused(other.responses.create({ model: MODEL, input: 'x', previous_response_id: mine.id }), BadRequestError, 400, 'previous_response_not_found', 'previous_response_id')
    await refused(acme.responses.create({ model: MODEL, input: 'x', previous_response_id: mine.id, conversation: 'conv_x' }), BadRequestError, 400, 'mutually_exclusive_parameters', 'previous_response_id')
    await refused(acme.responses.create({ model: MODEL, input: 'x' }), RateLimitError, 429, 'rate_limit_exceeded', null)
    assert.ok(house.exchanges.at(-1)?.headers['retry-after'])
    assert.equal(house.engine.requests.length, 1, 'no refusal reached the engine')
  }, tenants)
})

test('a refusal of the engine is told as a 400, on a stream too', async () => {
  const refusal = { status: 400, body: { error: { code: 400, message: 'the request exceeds the context', type: 'exceed_context_size_error' } } }
  await withHouse([{ refusal }, { refusal }], async (client) => {
    await assert.rejects(client.responses.create({ model: MODEL, input: 'x' }), BadRequestError)
    await assert.rejects(client.responses.stream({ model: MODEL, input: 'x' }).finalResponse(), BadRequestError)
  })
})

test('a client that aborts its stream frees the engine, and nothing is stored', async () => {
  await withHouse([{ text: 'never ending', endless: true }], async (client, { engine }) => {
    const stream = await client.responses.create({ model: MODEL, input: 'go', stream: true })
    let id = ''
    for await (const event of stream) {
      if (event.type === 'response.created') id = event.response.id
      if (event.type === 'response.output_text.delta') stream.controller.abort()
    }
    await engine.abandoned
    await assert.rejects(client.responses.retrieve(id), NotFoundError)
  })
})

test('over a simulated fleet each conversation stays where its cache is', async () => {
  const fleet = await startFleetServer({ fleet: uniformFleet('realistic', 3, { blockTokens: 16 }), port: 0, timeFactor: 2, model: 'sim', medianOutputTokens: 8 })
  const gateway = await openGateway(fleet.urls)
  const client = clientOf(gateway)
  try {
    const turns = new Map<string, { last: Response; backend: string }>()
    for (const turn of [0, 1, 2]) {
      for (const who of ['ada', 'bob', 'eve']) {
        const before = turns.get(who)
        const { data, response } = await client.responses.create({
          model: 'sim', input: `${who} speaks, turn ${turn}. `.repeat(turn === 0 ? 400 : 20), ...(before !== undefined && { previous_response_id: before.last.id }),
        }).withResponse()
        const backend = response.headers.get('x-homing-backend')!
        if (before !== undefined) {
          assert.equal(backend, before.backend)
          assert.ok(data.usage!.input_tokens_details.cached_tokens > 0, `${who}, turn ${turn}`)
        }
        turns.set(who, { last: data, backend })
      }
    }
  } finally {
    await gateway.close()
    await fleet.close()
    seen.push(...gateway.exchanges)
  }
})

test('an answer made of several is a response and a completion as any other, whole and streamed', async () => {
  const asks = { homing: { ensemble: { models: [MODEL, MODEL, MODEL], merge: 'vote', quorum: 3 } } }
  const says: Script = (body) => (messagesOf(body).at(-1)?.content === 'last' ? { text: 'gone on' } : { text: 'forty two' })
  await withHouse(says, async (client, { engine }) => {
    const whole = await client.responses.create({ model: MODEL, input: 'count', ...asks })
    assert.equal(whole.output_text, 'forty two')
    const stored = await client.responses.retrieve(whole.id)
    assert.equal(stored.output_text, 'forty two')
    const { homing } = whole as unknown as { homing: { ensemble: { members: { id: string }[] } } }
    for (const { id } of homing.ensemble.members) assert.equal((await client.responses.retrieve(id)).output_text, 'forty two')

    const helper = client.responses.stream({ model: MODEL, input: 'count', ...asks })
    let text = ''
    helper.on('response.output_text.delta', ({ delta }) => void (text += delta))
    const streamed = await helper.finalResponse()
    assert.equal(streamed.output_text, 'forty two')
    assert.equal(text, 'forty two')
    const next = await client.responses.create({ model: MODEL, input: 'last', previous_response_id: streamed.id })
    assert.equal(next.output_text, 'gone on')
    assert.equal(messagesOf(engine.requests.at(-1)).length, 3)

    const message = { role: 'user', content: 'count' } as const
    const completion = await client.chat.completions.create({ model: MODEL, messages: [message], ...asks })
    assert.equal(completion.choices[0]!.message.content, 'forty two')
    const chat = client.chat.completions.stream({ model: MODEL, messages: [message], stream_options: { include_usage: true }, ...asks })
    const final = await chat.finalChatCompletion()
    assert.equal(final.choices[0]!.message.content, 'forty two')
    assert.equal(final.usage!.completion_tokens % 3, 0)

    const written = client.responses.stream({ model: MODEL, input: 'count', homing: { ensemble: { models: [MODEL, MODEL], merge: 'synthesis' } } } as Parameters<typeof client.responses.stream>[0])
    assert.equal((await written.finalResponse()).output_text, 'forty two')
    const climbed = client.responses.stream({ model: MODEL, input: 'count', homing: { ensemble: { models: [MODEL], merge: 'best_of' } } } as Parameters<typeof client.responses.stream>[0])
    assert.equal((await climbed.finalResponse()).output_text, 'forty two')
    const error = await client.responses.create({ model: MODEL, input: 'count', homing: { ensemble: { models: [MODEL], merge: 'mix' } } } as Parameters<typeof client.responses.create>[0]).catch((refused: unknown) => refused)
    assert.ok(error instanceof BadRequestError)
    assert.equal(error.param, 'homing.ensemble.merge')
  })
})
