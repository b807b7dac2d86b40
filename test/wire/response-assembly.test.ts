import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ResponseEvent } from '../../src/model/event.ts'
import type { ResponseAssembly } from '../../src/wire/response-assembly.ts'
import type { ToolName } from '../../src/wire/tool-names.ts'
import { orderViolations } from './event-order.ts'
import { newAssembly, types } from './response-harness.ts'

const TOOLS = new Map<string, ToolName>([
  ['apply_patch', { kind: 'custom', name: 'apply_patch' }],
  ['mcp__files__read', { kind: 'function', name: 'read', namespace: 'mcp__files__' }],
])

function build(write: (assembly: ResponseAssembly) => ResponseEvent): { events: ResponseEvent[]; output: readonly ResponseEvent[] } {
  const events: ResponseEvent[] = []
  const assembly = newAssembly(events, TOOLS)
  events.push(write(assembly))
  assert.deepEqual(orderViolations(events), [])
  return { events, output: assembly.output }
}

test('text has exactly the canonical sequence', () => {
  const { events } = build((a) => {
    a.text('Hel')
    a.text('lo')
    return a.complete()
  })
  assert.deepEqual(types(events), [
    'created', 'in_progress', 'output_item.added', 'content_part.added', 'output_text.delta', 'output_text.delta',
    'output_text.done', 'content_part.done', 'output_item.done', 'completed',
  ])
  assert.deepEqual(events[2]?.['item'], { id: 'msg_0', type: 'message', status: 'in_progress', role: 'assistant', content: [] })
  assert.deepEqual(events[4], {
    type: 'response.output_text.delta', item_id: 'msg_0', output_index: 0, content_index: 0, delta: 'Hel', logprobs: [],
  })
})

test('reasoning is streamed as a summary and closed by the text that follows', () => {
  const { events } = build((a) => {
    a.reasoning('why')
    a.text('yes')
    return a.complete()
  })
  assert.deepEqual(types(events).slice(2, 9), [
    'output_item.added', 'reasoning_summary_part.added', 'reasoning_summary_text.delta', 'reasoning_summary_text.done',
    'reasoning_summary_part.done', 'output_item.done', 'output_item.added',
  ])
  assert.deepEqual(events[7]?.['item'], {
    id: 'rs_0', type: 'reasoning', status: 'completed', summary: [{ type: 'summary_text', text: 'why' }],
  })
})

test('reasoning between two texts makes three items', () => {
  const { output } = build((a) => {
    a.text('a')
    a.reasoning('b')
    a.text('c')
    return a.complete()
  })
  assert.deepEqual(output.map((item) => item.type), ['message', 'reasoning', 'message'])
})

test('interleaved calls are open side by side, each with its own index', () => {
  const { output } = build((a) => {
    a.toolCall(0, { id: 'call_x', name: 'f', arguments: '{"a":' })
    a.toolCall(1, { id: 'call_y', name: 'g', arguments: '{' })
    a.toolCall(0, { arguments: '1}' })
    a.toolCall(1, { arguments: '}' })
    return a.complete()
  })
  assert.deepEqual(
    output.map((item) => [item['call_id'], item['name'], item['arguments'], item['status']]),
    [['call_x', 'f', '{"a":1}', 'completed'], ['call_y', 'g', '{}', 'completed']],
  )
})

test('a name that comes late or in pieces is whole when the item is announced', () => {
  const { events } = build((a) => {
    a.toolCall(0, { id: 'call_x' })
    a.toolCall(0, { name: 'get_' })
    a.toolCall(0, { name: 'weather' })
    a.toolCall(0, { arguments: '{}' })
    a.toolCall(1, { arguments: '{"b":' })
    a.toolCall(1, { id: 'call_y', name: 'late', arguments: '2}' })
    return a.complete()
  })
  const added = events.filter((event) => event.type === 'response.output_item.added').map((event) => event['item'] as ResponseEvent)
  assert.deepEqual(added.map((item) => [item['name'], item['call_id']]), [['get_weather', 'call_x'], ['late', 'call_y']])
})

test('a name that is repeated with every fragment is one name', () => {
  const { output } = build((a) => {
    a.toolCall(0, { id: 'c', name: 'f', arguments: '' })
    a.toolCall(0, { id: 'c', name: 'f', arguments: '{' })
    a.toolCall(0, { id: 'c', name: 'f', arguments: '}' })
    return a.complete()
  })
  assert.equal(output[0]?.['name'], 'f')
})

test('a call id that is missing or used twice is replaced by one of ours', () => {
  const { output } = build((a) => {
    a.toolCall(0, { name: 'f', arguments: '{}' })
    a.toolCall(1, { id: 'same', name: 'f', arguments: '{}' })
    a.toolCall(2, { id: 'same', name: 'f', arguments: '{}' })
    return a.complete()
  })
  const ids = output.map((item) => String(item['call_id']))
  assert.equal(new Set(ids).size, 3)
  assert.equal(ids[1], 'same')
  assert.match(ids[0]!, /^call_/)
})

test('a call without arguments is announced, and its arguments are an empty object', () => {
  const { output } = build((a) => {
    a.toolCall(0, { id: 'c', name: 'now' })
    return a.complete()
  })
  assert.deepEqual([output[0]?.['name'], output[0]?.['arguments']], ['now', '{}'])
})

test('a call that never gets a name fails the response', () => {
  const { events } = build((a) => {
    a.toolCall(0, { id: 'c', arguments: '{}' })
    return a.complete()
  })
  assert.equal(events.at(-1)?.type, 'response.failed')
})

test('a namespace tool gets its own name and namespace back', () => {
  const { output } = build((a) => {
    a.toolCall(0, { id: 'c', name: 'mcp__files__read', arguments: '{}' })
    return a.complete()
  })
  assert.deepEqual([output[0]?.['name'], output[0]?.['namespace']], ['read', 'mcp__files__'])
})

test('a custom tool call shows the input inside the arguments, whatever the cuts', () => {
  const input = '*** Begin "Patch"\n\t\\ é 😀 \u2028 end'
  const escaped = JSON.stringify({ input }).replace('é', '\\u00e9').replace('😀', '\\ud83d\\uDE00')
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: 0, max: escaped.length }), { maxLength: 20 }), (cuts) => {
      const at = [0, ...cuts.sort((a, b) => a - b), escaped.length]
      const { output, events } = build((a) => {
        a.toolCall(0, { id: 'c', name: 'apply_patch' })
        for (let i = 1; i < at.length; i += 1) a.toolCall(0, { arguments: escaped.slice(at[i - 1], at[i]) })
        return a.complete()
      })
      assert.deepEqual([output[0]?.type, output[0]?.['input']], ['custom_tool_call', input])
      for (const event of events) {
        if (event.type === 'response.custom_tool_call_input.delta') assert.doesNotMatch(String(event['delta']), /\p{Surrogate}/u)
      }
    }),
  )
})

for (const [args, input] of [
  ['just text', 'just text'],
  ['{"input": {"a":1}}', '{"a":1}'],
  ['{"note":"x","input":"y"}', 'y'],
  ['"quoted"', 'quoted'],
  ['{"input":"cut off', 'cut off'],
  ['{"input":"lone \\ud83d end"}', 'lone \ud83d end'],
  ['{"input":""}', ''],
] as const) {
  test(`custom tool arguments ${args} are read as input ${JSON.stringify(input)}`, () => {
    const { output } = build((a) => {
      a.toolCall(0, { id: 'c', name: 'apply_patch', arguments: args })
      return a.complete()
    })
    assert.equal(output[0]?.['input'], input)
  })
}

test('an answer in which the model said nothing has one empty message', () => {
  const { events, output } = build((a) => a.complete())
  assert.deepEqual(output[0]?.['content'], [{ type: 'output_text', text: '', annotations: [], logprobs: [] }])
  assert.ok(!types(events).includes('output_text.delta'))
  assert.deepEqual(build((a) => (a.reasoning('x'), a.complete())).output.map((item) => item.type), ['reasoning', 'message'])
})

test('a truncated answer marks its last item only', () => {
  const { events, output } = build((a) => {
    a.toolCall(0, { id: 'a', name: 'f', arguments: '{}' })
    a.toolCall(1, { id: 'b', name: 'f', arguments: '{"x' })
    return a.incomplete('max_output_tokens')
  })
  assert.deepEqual(output.map((item) => item['status']), ['completed', 'incomplete'])
  const response = events.at(-1)?.['response'] as ResponseEvent
  assert.deepEqual(response['incomplete_details'], { reason: 'max_output_tokens' })
})

test('a failure closes what is open, keeps what was written and carries its error', () => {
  const { events, output } = build((a) => {
    a.text('half')
    return a.fail({ code: 'server_error', message: 'The backend went away.' })
  })
  const response = events.at(-1)?.['response'] as ResponseEvent
  assert.deepEqual(response['error'], { code: 'server_error', message: 'The backend went away.' })
  assert.equal(output[0]?.['status'], 'incomplete')
  assert.deepEqual(response['output'], output)
})

test('usage has no nulls, and the totals add up', () => {
  const { events } = build((a) => {
    a.text('x')
    a.usage({ promptTokens: 10, cachedTokens: null, outputTokens: 3, reasoningTokens: null })
    return a.complete()
  })
  assert.deepEqual((events.at(-1)?.['response'] as ResponseEvent | undefined)?.['usage'], {
    input_tokens: 10,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: 3,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: 13,
  })
})

test('created leaves once, is not visible output, and nothing follows the terminal event', () => {
  const events: ResponseEvent[] = []
  const assembly = newAssembly(events)
  assembly.open()
  assembly.open()
  assert.deepEqual([types(events), assembly.opened, assembly.visible], [['created', 'in_progress'], true, false])
  assembly.text('x')
  assert.equal(assembly.visible, true)
  const terminal = assembly.complete()
  const count = events.length
  assembly.text('y')
  assembly.toolCall(0, { name: 'f', arguments: '{}' })
  assert.equal(assembly.fail({ code: 'server_error', message: 'late' }), terminal)
  assert.equal(events.length, count)
})

test('any interleaving of output keeps the ordering rules, under every ending', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constantFrom('text', 'reasoning', 'refusal'), text: fc.constantFrom('', 'a', ' b') }),
    fc.record({
      kind: fc.constant('call'),
      index: fc.nat(3),
      id: fc.constantFrom(null, 'c0', 'c1'),
      name: fc.constantFrom(null, 'f', 'apply_patch'),
      arguments: fc.constantFrom(null, '', '{"input":"', 'x', '"}'),
    }),
    fc.record({ kind: fc.constant('end-item') }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), fc.constantFrom('complete', 'incomplete', 'fail'), (steps, ending) => {
      build((a) => {
        for (const one of steps) {
          if (one.kind === 'end-item') a.endItem()
          else if ('index' in one) a.toolCall(one.index, one)
          else if ('text' in one) a[one.kind as 'text' | 'reasoning' | 'refusal'](one.text)
        }
        if (ending === 'complete') return a.complete()
        if (ending === 'incomplete') return a.incomplete('max_output_tokens')
        return a.fail({ code: 'server_error', message: 'x' })
      })
    }),
    { numRuns: 300 },
  )
})

test('the order checker finds any event that is missing or comes twice', () => {
  const { events } = build((a) => {
    a.reasoning('r')
    a.text('t')
    a.refusal('no')
    a.toolCall(0, { id: 'c', name: 'f', arguments: '{}' })
    a.toolCall(1, { id: 'd', name: 'apply_patch', arguments: '{"input":"x"}' })
    return a.complete()
  })
  for (let at = 0; at < events.length; at += 1) {
    assert.notDeepEqual(orderViolations(events.toSpliced(at, 1)), [], `without event ${at} ${events[at]?.type}`)
    assert.notDeepEqual(orderViolations(events.toSpliced(at, 0, events[at]!)), [], `twice event ${at} ${events[at]?.type}`)
  }
})
