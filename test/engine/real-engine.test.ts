/**
 * A real engine (llama.cpp, three processes with a small model) behind the gateway, which is a process of its own, so that
 * it can be killed. `npm test` installs the engine and says where; where it cannot run these tests are skipped, loudly.
 */
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { JsonObject } from '../../src/model/json.ts'
import { client, eventually, responseOf } from '../gateway/support/gateway.ts'

const WHY_NOT = process.env['HOMING_NO_ENGINE']
const PROJECT = process.cwd()
const MAIN = fileURLToPath(new URL('../../src/main.js', import.meta.url))
const START_MS = 180_000

type Seen = { readonly id: string; readonly backend: string; readonly cached: number; readonly prompt: number; readonly body: JsonObject }

describe('a conversation on real engines', WHY_NOT === undefined ? {} : { skip: `no real engine: ${WHY_NOT}` }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'homing-engine-'))
  const engines = join(folder, 'engines')
  let urls: string[] = []
  let model = ''
  let gateway: { process: ChildProcess; exited: Promise<unknown> } | null = null
  let ask = client('')

  before(async () => {
    const up = spawn(process.execPath, [join(PROJECT, 'scripts', 'engines.mjs'), 'up', '--dir', engines, '--n', '3', '--slots', '2', '--context', '4096', '--stop-with', String(process.pid)], { stdio: ['ignore', 'pipe', 'inherit'] })
    const exited = new Promise<number | null>((resolve) => up.once('exit', resolve))
    for await (const line of createInterface({ input: up.stdout })) {
      const engine = JSON.parse(line) as { url: string; model: string }
      urls = [...urls, engine.url]
      model = engine.model
    }
    assert.equal(await exited, 0)
    assert.equal(urls.length, 3)
    await start()
  }, { timeout: START_MS })

  after(async () => {
    gateway?.process.kill('SIGTERM')
    await gateway?.exited
    const down = spawn(process.execPath, [join(PROJECT, 'scripts', 'engines.mjs'), 'down', '--dir', engines], { stdio: 'inherit' })
    await new Promise((resolve) => down.once('exit', resolve))
    rmSync(folder, { recursive: true, force: true })
  }, { timeout: 60_000 })

  async function start(): Promise<void> {
    const child = spawn(process.execPath, [MAIN, 'serve', '--listen', '127.0.0.1:0', '--store', join(folder, 'store'), '--log-level', 'silent', ...urls.flatMap((url) => ['--backend', url])], { stdio: ['ignore', 'pipe', 'inherit'] })
    gateway = { process: child, exited: new Promise((resolve) => child.once('exit', resolve)) }
    let said = ''
    child.stdout!.on('data', (data) => (said += String(data)))
    await eventually(() => /serves http:\S+/.test(said))
    ask = client(/http:\/\/[\d.:]+/.exec(said)![0])
    await eventually(async () => (await ask.json('/readyz')).status === 200)
    const served = (await ask.json('/v1/models')).body['data'] as readonly JsonObject[]
    assert.ok(served.some((entry) => entry['id'] === model))
  }

  async function turn(path: string, body: JsonObject): Promise<Seen> {
    const answer = await ask.json(path, { model, temperature: 0, ...body })
    assert.equal(answer.status, 200, JSON.stringify(answer.body))
    const usage = answer.body['usage'] as JsonObject
    const details = (usage['input_tokens_details'] ?? usage['prompt_tokens_details']) as JsonObject
    return { id: String(answer.body['id']), backend: answer.headers.get('x-homing-backend')!, cached: Number(details['cached_tokens']), prompt: Number(usage['input_tokens'] ?? usage['prompt_tokens']), body: answer.body }
  }

  const opening = (name: string): string => `My name is ${name}. ${`${name} collects maps of old harbours and writes down what each of them says. `.repeat(12)}Say hello.`
  const short = { max_output_tokens: 12 }

  test('by previous_response_id every turn goes home and finds its cache', { timeout: 120_000 }, async () => {
    for (const name of ['Ada', 'Bertrand', 'Chandra']) {
      const first = await turn('/v1/responses', { input: opening(name), ...short })
      let parent = first
      for (let i = 0; i < 3; i++) {
        const next = await turn('/v1/responses', { input: `Question ${i}: what do I collect?`, previous_response_id: parent.id, ...short })
        assert.equal(next.backend, first.backend)
        assert.ok(next.cached >= 0.8 * parent.prompt, `${next.cached} of ${next.prompt} tokens were cached; its parent had ${parent.prompt}`)
        parent = next
      }
    }
  })

  test('by conversation too, streamed', { timeout: 120_000 }, async () => {
    const conversation = String((await ask.json('/v1/conversations', {})).body['id'])
    const homes = new Set<string | null>()
    let before = 0
    for (let i = 0; i < 3; i++) {
      const stream = await ask.events('/v1/responses', { model, temperature: 0, stream: true, conversation, input: i === 0 ? opening('Dorothy') : `Question ${i}?`, ...short })
      const response = responseOf((await stream.rest()).find(({ name }) => /^response\.(completed|incomplete)$/.test(name ?? ''))!)
      homes.add(stream.response.headers.get('x-homing-backend'))
      const usage = response['usage'] as JsonObject
      if (i > 0) assert.ok(Number((usage['input_tokens_details'] as JsonObject)['cached_tokens']) >= 0.8 * before)
      before = Number(usage['input_tokens'])
    }
    assert.equal(homes.size, 1)
  })

  test('a Chat client that sends its whole history is recognised', { timeout: 120_000 }, async () => {
    let messages: JsonObject[] = [{ role: 'system', content: 'You are brief.' }, { role: 'user', content: opening('Emmy') }]
    let parent: Seen | null = null
    for (let i = 0; i < 3; i++) {
      const seen: Seen = await turn('/v1/chat/completions', { messages, max_tokens: 12 })
      if (parent !== null) {
        assert.equal(seen.backend, parent.backend)
        assert.ok(seen.cached >= 0.8 * parent.prompt)
      }
      const reply = ((seen.body['choices'] as readonly JsonObject[])[0]!['message'] as JsonObject)['content'] ?? ''
      messages = [...messages, { role: 'assistant', content: reply }, { role: 'user', content: `Question ${i}?` }]
      parent = seen
    }
  })

  test('the decision of a turn says what was expected and what came of it', { timeout: 120_000 }, async () => {
    const first = await turn('/v1/responses', { input: opening('Felix'), ...short })
    const second = await turn('/v1/responses', { input: 'And?', previous_response_id: first.id, ...short, prompt_cache_options: { comparison_response_id: first.id } })
    assert.deepEqual(second.body['prompt_cache_diagnostics'], { type: 'cache_hit' })
    const receipt = (await ask.json(`/homing/v1/responses/${second.id}/decision`)).body
    assert.equal((receipt['cached_tokens'] as JsonObject)['actual'], second.cached)
    assert.ok(Number((receipt['cached_tokens'] as JsonObject)['expected']) > 0)
    assert.equal(receipt['backend_id'], second.backend)
  })

  test('after kill -9 and a restart with the same store the next turn still goes home', { timeout: 120_000 }, async () => {
    const roots: Seen[] = []
    for (const name of ['Grace', 'Henri', 'Ida', 'Johannes']) roots.push(await turn('/v1/responses', { input: opening(name), ...short }))
    gateway!.process.kill('SIGKILL')
    await gateway!.exited
    await start()
    let warm = 0
    for (const root of roots) {
      const next = await turn('/v1/responses', { input: 'What do I collect?', previous_response_id: root.id, ...short })
      if (next.backend === root.backend && next.cached >= 0.8 * root.prompt) warm++
    }
    // all slots are taken by now: an engine may have given one conversation's to another, and then another home is right
    assert.ok(warm >= roots.length - 1, `${warm} of ${roots.length} were found cached`)
  })

  test('when the home of a conversation is drained, its next turn finds its prefix computed on another engine', { timeout: 120_000 }, async () => {
    const first = await turn('/v1/responses', { input: opening('Karin'), ...short })
    const second = await turn('/v1/responses', { input: 'What do I collect?', previous_response_id: first.id, ...short })
    await ask.json(`/homing/v1/backends/${second.backend}/drain`, { drain: true })
    try {
      await eventually(async () => {
        const { wishes, running } = (await ask.json('/homing/v1/prewarm')).body
        return wishes === 0 && (running as readonly unknown[]).length === 0
      })
      const next = await turn('/v1/responses', { input: 'And where?', previous_response_id: second.id, ...short })
      assert.notEqual(next.backend, second.backend)
      assert.ok(next.cached >= 0.8 * second.prompt, `${next.cached} of ${next.prompt} tokens were cached; its parent had ${second.prompt}`)
      assert.equal((await ask.json(`/homing/v1/responses/${next.id}/decision`)).body['prewarmed'], true)
    } finally {
      await ask.json(`/homing/v1/backends/${second.backend}/drain`, { drain: false })
    }
  })
})
