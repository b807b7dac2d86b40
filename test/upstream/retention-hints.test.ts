import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Backend, Engine } from '../../src/model/backend.ts'
import { retentionHints, saltSent } from '../../src/upstream/retention-hints.ts'
import { backendAt } from '../schedule/fixture.ts'

function backend(engine: Engine, cacheSaltKey: string | null): Backend {
  const base = backendAt(0)
  return { ...base, engine, config: { ...base.config, hints: { priority: false, cacheSaltKey, sessionHeader: null } } }
}

test('the salt that tokens of a turn are kept under is the one its engine is sent: the operator’s, else the client’s', () => {
  const turn = { tenant: 'acme', sessionId: 's', priority: 0 }
  for (const engine of ['vllm', 'sglang'] as const) {
    const salt = saltSent(backend(engine, 'secret'), { tenant: 'acme', body: { cache_salt: 'mine' } })
    assert.ok(salt !== null && salt !== 'mine')
    assert.equal(salt, retentionHints(backend(engine, 'secret'), turn).fields['cache_salt'])
    assert.notEqual(salt, saltSent(backend(engine, 'secret'), { tenant: 'other', body: {} }))
    assert.equal(saltSent(backend(engine, null), { tenant: 'acme', body: { cache_salt: 'mine' } }), 'mine')
    assert.equal(saltSent(backend(engine, null), { tenant: 'acme', body: { cache_salt: '' } }), null)
  }
  assert.equal(saltSent(backend('llamacpp', 'secret'), { tenant: 'acme', body: {} }), null, 'it is not sent there')
  assert.equal(saltSent(backendAt(0), { tenant: 'acme', body: {} }), null, 'no hints at all')
})
