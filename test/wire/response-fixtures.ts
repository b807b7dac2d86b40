/** Streams in the shapes of real engines; names say which engine and what happens. */
import type { JsonObject } from '../../src/model/json.ts'
import { call, delta, usageChunk } from './response-harness.ts'

const DONE = '[DONE]'
type Payloads = readonly (JsonObject | string)[]

export const CHAT_STREAMS: Readonly<Record<string, Payloads>> = {
  'llama.cpp text': [
    delta({ role: 'assistant', content: null }),
    delta({ content: 'Hel' }),
    delta({ content: 'lo' }),
    delta({}, 'stop'),
    {
      ...usageChunk(84, 2, { prompt_tokens_details: { cached_tokens: 83 } }),
      timings: { cache_n: 83, prompt_n: 1, prompt_ms: 10.8, predicted_n: 2, predicted_ms: 74.8 },
    },
    DONE,
  ],
  'vLLM reasoning, text, two parallel calls': [
    delta({ role: 'assistant', content: '' }),
    delta({ reasoning: 'think' }),
    delta({ reasoning: 'ing' }),
    delta({ content: 'I look.' }),
    call(0, 'call_a', 'get_weather', ''),
    call(0, null, null, '{"city":'),
    call(0, null, null, '"alpha"}'),
    call(1, 'call_b', 'get_weather', ''),
    call(1, null, null, '{"city":"beta"}'),
    delta({}, 'tool_calls'),
    usageChunk(100, 20, { prompt_tokens_details: { cached_tokens: 64, created_cache_tokens: 0, multimodal_tokens: null } }),
    DONE,
  ],
  'SGLang reasoning_content, cut by its limit': [
    delta({ role: 'assistant', content: '', reasoning_content: null }),
    delta({ content: null, reasoning_content: 'so ' }),
    delta({ content: 'text', reasoning_content: null }),
    delta({ content: ' more' }, 'length'),
    { ...usageChunk(10, 4), usage: { prompt_tokens: 10, completion_tokens: 4, reasoning_tokens: 1, prompt_tokens_details: null } },
    DONE,
  ],
  'text, reasoning again, text, refusal': [
    delta({ content: 'a' }),
    delta({ reasoning: 'b' }),
    delta({ content: 'c' }),
    delta({ refusal: 'no' }),
    delta({ content: 'd' }),
    delta({}, 'stop'),
    DONE,
  ],
  'nothing at all': [delta({ role: 'assistant', content: '' }), delta({}, 'stop'), usageChunk(5, 1), DONE],
  'content filter': [delta({ content: 'x' }), delta({}, 'content_filter'), DONE],
  'fails in the middle': [delta({ content: 'x' }), { error: { message: 'out of memory', type: 'InternalServerError', code: 500 } }],
  'with log probabilities': [
    {
      ...delta({}),
      choices: [
        {
          index: 0,
          delta: { content: 'é' },
          finish_reason: null,
          logprobs: { content: [{ token: 'é', logprob: -0.1, bytes: null, top_logprobs: [{ token: 'e', logprob: -2, bytes: [101] }] }] },
        },
      ],
    },
    delta({}, 'stop'),
    DONE,
  ],
}

const llama = (type: string, fields: JsonObject): JsonObject => ({ type, ...fields })
const LLAMA_OPENING: Payloads = [
  llama('response.created', { response: { id: 'resp_5HG9', object: 'response', status: 'in_progress' } }),
  llama('response.in_progress', { response: { id: 'resp_5HG9', object: 'response', status: 'in_progress' } }),
]
const llamaEnd = (output: readonly JsonObject[], tokens: number): JsonObject =>
  llama('response.completed', {
    response: {
      id: 'resp_5HG9',
      object: 'response',
      created_at: 1,
      status: 'completed',
      model: 'smollm2',
      output,
      usage: { input_tokens: 84, output_tokens: tokens, total_tokens: 84 + tokens, input_tokens_details: { cached_tokens: 83 } },
    },
    timings: { cache_n: 83, prompt_n: 1, predicted_n: tokens },
  })

const vllm = (() => {
  let sequence = 0
  return (type: string, fields: JsonObject): JsonObject => ({ type, sequence_number: sequence++, ...fields })
})()

export const RESPONSES_STREAMS: Readonly<Record<string, Payloads>> = {
  'llama.cpp text': [
    ...LLAMA_OPENING,
    llama('response.output_item.added', { item: { content: [], id: 'msg_l', role: 'assistant', status: 'in_progress', type: 'message' } }),
    llama('response.content_part.added', { item_id: 'msg_l', part: { type: 'output_text', text: '' } }),
    llama('response.output_text.delta', { item_id: 'msg_l', delta: 'Hel' }),
    llama('response.output_text.delta', { item_id: 'msg_l', delta: 'lo' }),
    llama('response.output_text.done', { item_id: 'msg_l', text: 'Hello' }),
    llama('response.content_part.done', { item_id: 'msg_l', part: { type: 'output_text', annotations: [], logprobs: [], text: 'Hello' } }),
    llama('response.output_item.done', {
      item: { type: 'message', status: 'completed', id: 'msg_l', content: [{ type: 'output_text', text: 'Hello' }], role: 'assistant' },
    }),
    llamaEnd([{ type: 'message', id: 'msg_l', content: [{ type: 'output_text', text: 'Hello' }] }], 2),
  ],
  'llama.cpp two calls without arguments.done': [
    ...LLAMA_OPENING,
    ...['a', 'b'].flatMap((name) => [
      llama('response.output_item.added', {
        item: { id: `fc_${name}`, arguments: '', call_id: `call_${name}`, name: 'get_weather', type: 'function_call', status: 'in_progress' },
      }),
      llama('response.function_call_arguments.delta', { delta: '{"city":', item_id: `fc_${name}` }),
      llama('response.function_call_arguments.delta', { delta: `"${name}"}`, item_id: `fc_${name}` }),
      llama('response.output_item.done', {
        item: {
          type: 'function_call',
          status: 'completed',
          id: `fc_${name}`,
          call_id: `call_${name}`,
          name: 'get_weather',
          arguments: `{"city":"${name}"}`,
        },
      }),
    ]),
    llamaEnd([], 30),
  ],
  'vLLM reasoning and text, cut by its limit': [
    vllm('response.created', { response: { id: 'resp_v', status: 'in_progress' } }),
    vllm('response.output_item.added', { output_index: 0, item: { type: 'reasoning', id: 'rs_v', summary: [], status: 'in_progress' } }),
    vllm('response.reasoning_text.delta', { output_index: 0, content_index: 0, item_id: 'rs_v', delta: 'hmm' }),
    vllm('response.reasoning_text.done', { output_index: 0, content_index: 0, item_id: 'rs_v', text: 'hmm' }),
    vllm('response.output_item.done', {
      output_index: 0,
      item: { type: 'reasoning', id: 'rs_v', summary: [], content: [{ type: 'reasoning_text', text: 'hmm' }] },
    }),
    vllm('response.output_item.added', { output_index: 1, item: { type: 'message', id: 'msg_v', role: 'assistant', content: [], status: 'in_progress' } }),
    vllm('response.output_text.delta', { output_index: 1, content_index: 0, item_id: 'msg_v', delta: 'Hi', logprobs: [] }),
    vllm('response.completed', {
      response: {
        id: 'resp_v',
        status: 'incomplete',
        incomplete_details: { reason: 'max_output_tokens' },
        output: [],
        usage: {
          input_tokens: 300,
          output_tokens: 5,
          total_tokens: 305,
          input_tokens_details: { cached_tokens: 256, input_tokens_per_turn: [] },
          output_tokens_details: { reasoning_tokens: 3, tool_output_tokens: 0 },
        },
      },
    }),
  ],
  'older vLLM: a content_index per token, ids that drift': [
    vllm('response.created', { response: { id: 'resp_v', status: 'in_progress' } }),
    vllm('response.output_item.added', { output_index: 0, item: { type: 'message', id: 'msg_v', content: [], status: 'in_progress' } }),
    ...['a', 'b', 'c'].map((text, index) =>
      vllm('response.output_text.delta', { output_index: 0, content_index: index, item_id: `msg_${index}`, delta: text }),
    ),
    vllm('response.output_text.done', { output_index: 0, content_index: 3, item_id: 'msg_v', text: 'abc' }),
    vllm('response.completed', { response: { id: 'resp_v', status: 'completed', incomplete_details: null, output: [] } }),
  ],
  'SGLang: a call only in output_item.done': [
    llama('response.created', { response: { id: 'resp_s' } }),
    llama('response.output_item.done', {
      output_index: 0,
      item: { type: 'function_call', id: 'fc_s', call_id: 'call_s', name: 'f', arguments: '{"x":1}', status: 'completed' },
    }),
    llama('response.completed', { response: { id: 'resp_s', status: 'completed', incomplete_details: null } }),
  ],
  'SGLang: truncation as response.incomplete': [
    llama('response.output_text.delta', { output_index: 0, item_id: 'm', delta: 'cut' }),
    llama('response.incomplete', { response: { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } } }),
  ],
  'everything only at the end': [
    llama('response.completed', {
      response: {
        status: 'completed',
        incomplete_details: null,
        output: [
          { type: 'reasoning', id: 'r', summary: [{ type: 'summary_text', text: 'why' }] },
          { type: 'message', id: 'm', role: 'assistant', content: [{ type: 'output_text', text: 'one' }] },
          { type: 'message', id: 'n', role: 'assistant', content: [{ type: 'refusal', refusal: 'two' }] },
          { type: 'function_call', id: 'f', call_id: 'c', name: 'f', arguments: '{}' },
        ],
        usage: { input_tokens: 1, output_tokens: 2 },
      },
    }),
  ],
  'Open Responses reasoning events': [
    llama('response.reasoning.delta', { output_index: 0, item_id: 'r', delta: 'why' }),
    llama('response.reasoning.done', { output_index: 0, item_id: 'r', text: 'why' }),
    llama('response.output_text.delta', { output_index: 1, item_id: 'm', delta: 'yes' }),
    llama('response.completed', { response: { status: 'completed', incomplete_details: null } }),
  ],
  'fails in the middle': [
    llama('response.output_text.delta', { output_index: 0, item_id: 'm', delta: 'x' }),
    llama('response.failed', { response: { status: 'failed', error: { code: 'server_error', message: 'boom' } } }),
  ],
}
