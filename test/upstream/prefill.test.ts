import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { Cancellation } from '../../src/model/cancellation.ts'
import { Connections } from '../../src/upstream/connections.ts'
import { prefillPrompt } from '../../src/upstream/prefill.ts'
import { SilenceWatch } from '../../src/upstream/silence-watch.ts'
import { DONE, sseHead, ScriptedUpstream, usageChunk, type Script } from '../gateway/support/scripted-upstream.ts'
import { backendAt } from '../schedule/fixture.ts'
import { resolved } from '../wire/request-turn.ts'

const answers: Script = (response) => {
  sseHead(response)
  response.end(usageChunk(100, 0, 1) + DONE)
}

/** What comes of half of a prompt at a backend that is told the session in this header. */
async function pieceWith(t: TestContext, sessionHeader: string) {
  const upstream = await ScriptedUpstream.start({ usual: answers })
  const connections = new Connections()
  t.after(() => Promise.all([connections.close(), upstream.close()]))
  const backend = backendAt(0)
  const hints = { priority: false, cacheSaltKey: null, sessionHeader }
  const hinted = { ...backend, config: { ...backend.config, url: upstream.url, hints } }
  const nowMs = () => performance.now()
  const ports = { connections, watch: new SilenceWatch(nowMs), nowMs, report: () => undefined }
  const turn = resolved({ input: 'many words '.repeat(100) })
  const done = await prefillPrompt(turn, 0.5, { backend: hinted, protocol: 'chat', signal: new Cancellation() }, ports)
  return { done, asked: upstream.asked }
}

test('a piece of a prompt carries the session header that its turn will carry', { timeout: 10_000 }, async (t) => {
  const { done, asked } = await pieceWith(t, 'x-session-id')
  assert.equal(done?.usage.promptTokens, 100)
  assert.match(String(asked[0]!.headers['x-session-id']), /^[0-9a-f]{32}$/)
})

test('a piece that cannot even be sent is none, and no error', { timeout: 10_000 }, async (t) => {
  const { done, asked } = await pieceWith(t, 'transfer-encoding')
  assert.deepEqual([done, asked.length], [null, 0])
})
