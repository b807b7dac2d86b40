import assert from 'node:assert/strict'
import { test } from 'node:test'
import { errorOf, harness } from './support/gateway.ts'
import { ScriptedUpstream } from './support/scripted-upstream.ts'

const URL = 'data:image/png;base64,iVBORw0KGgo='

/** Describes itself as llama.cpp without a projector: known to be blind. */
const blind = (upstream: ScriptedUpstream): void => {
  upstream.described['/v1/models'] = { object: 'list', data: [{ id: 'm', owned_by: 'llamacpp', meta: { n_ctx_train: 8192 } }] }
  upstream.described['/props'] = { default_generation_settings: { params: {}, n_ctx: 8192 }, total_slots: 4, modalities: { vision: false, audio: false } }
}

test('a picture that no backend of the model can see is a 400 that names it; words still go through', { timeout: 30_000 }, async (t) => {
  const gateway = await harness(t, { backends: 0 })
  for (let i = 0; i < 2; i++) {
    const upstream = await ScriptedUpstream.start()
    t.after(() => upstream.close())
    blind(upstream)
    assert.equal((await gateway.json('/homing/v1/backends', { url: upstream.url })).status, 201)
  }
  const said = await gateway.json('/v1/responses', { model: 'm', input: 'hello' })
  assert.equal(said.status, 200)
  const words = { type: 'input_text', text: 'what is this?' }
  const picture = { type: 'input_image', image_url: URL }
  const refused = await gateway.json('/v1/responses', { model: 'm', previous_response_id: said.body['id'], input: [{ role: 'user', content: 'look' }, { role: 'user', content: [words, picture] }] })
  assert.deepEqual([refused.status, errorOf(refused.body)['code'], errorOf(refused.body)['param']], [400, 'unsupported_item', 'input[1].content[1]'])
  assert.match(String(errorOf(refused.body)['message']), /input_image.*no backend of this model can see pictures/)
  const chat = await gateway.json('/v1/chat/completions', {
    model: 'm',
    messages: [
      { role: 'user', content: 'hello' },
      { role: 'assistant', content: 'Let me look.', tool_calls: [{ id: 'c', type: 'function', function: { name: 'look', arguments: '{}' } }] },
      { role: 'tool', tool_call_id: 'c', content: 'done' },
      { role: 'user', content: [{ type: 'text', text: 'what is this?' }, { type: 'image_url', image_url: { url: URL } }] },
    ],
  })
  assert.deepEqual([chat.status, errorOf(chat.body)['code'], errorOf(chat.body)['param']], [400, 'unsupported_item', 'messages[3].content[1]'])
})
