import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { JsonObject } from '../../src/model/json.ts'
import { promptStart } from '../../src/wire/prompt-start.ts'

const message = (role: string, content: string): JsonObject => ({ role, content })
const messagesOf = (body: JsonObject | null) => body!['messages'] as readonly JsonObject[]

describe('The beginning of a prompt', () => {
  it('asks for one token as a stream with usage, and for nothing that shapes an answer', () => {
    const body = promptStart(
      {
        model: 'm', messages: [message('user', 'x'.repeat(100))], tools: [{ type: 'function' }], max_completion_tokens: 99,
        min_tokens: 5, n: 2, stop: ['a'], response_format: { type: 'json_object' }, prompt_logprobs: 1, cache_salt: 't',
        chat_template_kwargs: { enable_thinking: false },
      },
      'chat', 0.5,
    )
    assert.deepEqual(Object.keys(body!).sort(), [
      'cache_salt', 'chat_template_kwargs', 'max_tokens', 'messages', 'model', 'stream', 'stream_options', 'tools',
    ])
    assert.deepEqual([body!['max_tokens'], body!['stream_options']], [1, { include_usage: true }])
  })

  it('cuts inside a long text', () => {
    const body = promptStart({ messages: [message('system', 's'.repeat(100)), message('user', 'u'.repeat(900))] }, 'chat', 0.5)
    assert.equal(messagesOf(body)[0]!['content'], 's'.repeat(100))
    const kept = (messagesOf(body)[1]!['content'] as string).length
    assert.ok(kept > 350 && kept < 450, `${kept}`)
  })

  it('does not end behind an answer where a question ends near it', () => {
    const history = [message('user', 'q'.repeat(900)), message('assistant', 'a'.repeat(200)), message('user', 'r'.repeat(900))]
    const body = promptStart({ messages: history }, 'chat', 0.5)
    assert.deepEqual(messagesOf(body), history.slice(0, 1))
  })

  it('keeps calls and results whole, and parts that are no text out of a cut message', () => {
    const call = { role: 'assistant', content: null, tool_calls: [{ function: { name: 'f', arguments: 'x'.repeat(500) } }] }
    const history = [message('user', 'q'.repeat(300)), call, { role: 'tool', tool_call_id: 'c', content: 't'.repeat(300) }]
    assert.deepEqual(messagesOf(promptStart({ messages: history }, 'chat', 0.5)), history.slice(0, 1))
    const picture = { role: 'user', content: [{ type: 'text', text: 'a'.repeat(100) }, { type: 'image_url', image_url: { url: 'data:x' } }, { type: 'text', text: 'b'.repeat(500) }] }
    assert.deepEqual(messagesOf(promptStart({ messages: [picture] }, 'chat', 0.5)), [{ role: 'user', content: [picture.content[0]] }])
  })

  it('cuts items of a Responses request, a plain string too', () => {
    const body = promptStart({ input: 'z'.repeat(1000), max_output_tokens: 7, text: {} }, 'responses', 0.25)
    assert.deepEqual(body, {
      input: [{ type: 'message', role: 'user', content: 'z'.repeat(260).slice(0, ((body!['input'] as JsonObject[])[0]!['content'] as string).length) }],
      max_output_tokens: 1, store: false, stream: true,
    })
    const length = ((body!['input'] as JsonObject[])[0]!['content'] as string).length
    assert.ok(length > 200 && length <= 260)
    const items = [
      { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'q'.repeat(400) }] },
      { type: 'function_call', call_id: 'c', name: 'f', arguments: '{}' },
      { type: 'function_call_output', call_id: 'c', output: 'o'.repeat(400) },
    ]
    const kept = promptStart({ input: items, instructions: 'i'.repeat(100) }, 'responses', 0.8)!['input'] as readonly JsonObject[]
    assert.deepEqual(kept.slice(0, 2), items.slice(0, 2))
    assert.match(kept[2]!['output'] as string, /^o{200,399}$/)
  })

  it('counts pictures as nothing: the cut is a share of the text', () => {
    const url = `data:image/png;base64,${'y'.repeat(100_000)}`
    for (const picture of [{ type: 'image_url', image_url: { url } }, { type: 'input_image', image_url: url }]) {
      const history = [
        { role: 'user', content: [{ type: 'text', text: 'q'.repeat(400) }, picture] },
        message('user', 'r'.repeat(600)),
        message('user', 's'.repeat(1000)),
      ]
      const half = promptStart({ messages: history }, 'chat', 0.5)
      assert.deepEqual(messagesOf(half).slice(0, 1), history.slice(0, 1))
      const { length } = messagesOf(half)[1]!['content'] as string
      assert.ok(length > 500 && length <= 600, `${length}`)
      assert.ok(JSON.stringify(promptStart({ messages: history }, 'chat', 0.1)).length < 1000, 'a tenth ends before the picture')
    }
  })

  it('is nothing where there is nothing to cut', () => {
    assert.equal(promptStart({ messages: [] }, 'chat', 0.5), null)
    assert.equal(promptStart({}, 'responses', 0.5), null)
  })

  it('is always a prefix of the messages, whatever they say', () => {
    const text = fc.string({ unit: 'binary', maxLength: 80 })
    const any = fc.record({ role: fc.constantFrom('system', 'user', 'assistant', 'tool'), content: text })
    fc.assert(fc.property(fc.array(any, { minLength: 1, maxLength: 8 }), fc.double({ min: 0, max: 1, noNaN: true }), (messages, share) => {
      const body = promptStart({ messages }, 'chat', share)
      if (body === null) return
      const kept = messagesOf(body)
      assert.ok(kept.length <= messages.length)
      kept.forEach((each, at) => {
        const whole = messages[at]!
        assert.equal(each['role'], whole.role)
        if (at < kept.length - 1) assert.equal(each['content'], whole.content)
        else assert.ok(whole.content.startsWith(each['content'] as string))
        assert.ok(!/[\ud800-\udbff]$/.test(each['content'] as string) || /[\ud800-\udbff]$/.test(whole.content))
      })
    }))
  })
})
