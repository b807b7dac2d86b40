import assert from 'node:assert/strict'
import { test } from 'node:test'
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

test('a piece of a prompt carries the session header that its turn will carry', { timeout: 10_000 }, async (t) => {
  const upstream = await ScriptedUpstream.start({ usual: answers })
  const connections = new Connections()
  t.after(() => Promise.all([connections.close(), upstream.close()]))
  const backend = backendAt(0)
  const hints = { priority: false, cacheSaltKey: null, sessionHeader: 'x-session-id' }
  const hinted = { ...backend, config: { ...backend.config, url: upstream.url, hints } }
  const nowMs = () => performance.now()
  const ports = { connections, watch: new SilenceWatch(nowMs), nowMs, report: () => undefined }
  const turn = resolved({ input: 'many words '.repeat(100) })
  const done = await prefillPrompt(turn, 0.5, { backend: hinted, protocol: 'chat', signal: undefined }, ports)
  assert.equal(done?.usage.promptTokens, 100)
  assert.match(String(upstream.asked[0]!.headers['x-session-id']), /^[0-9a-f]{32}$/)
})
