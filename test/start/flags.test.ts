import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadScript } from './scripts.ts'

type Flags = {
  readonly help: boolean; readonly simulated: boolean; readonly configured: boolean; readonly store: string | null
  readonly serve: readonly string[]; readonly address: { readonly host: string; readonly port: number } | null
}
const { readFlags } = await loadScript<{ readFlags(argv: readonly string[], hasConfigFile: boolean): Flags }>('start/flags.mjs')

test('without flags npm start brings its own fleet on the default address', () => {
  const flags = readFlags([], false)
  assert.equal(flags.configured, false)
  assert.deepEqual(flags.address, { host: '127.0.0.1', port: 8787 })
  assert.deepEqual(flags.serve, [])
})

test('a file, a named backend or homing.yaml is a configuration, and goes to homing serve', () => {
  assert.deepEqual(readFlags(['--config', 'x.yaml'], false).serve, ['--config', 'x.yaml'])
  assert.deepEqual(readFlags(['-c', 'x.yaml'], true).serve, ['-c', 'x.yaml'])
  assert.deepEqual(readFlags(['--backend=http://h:1'], false).serve, ['--backend=http://h:1'])
  assert.deepEqual(readFlags(['--open'], true).serve, ['--config', 'homing.yaml', '--open'])
  for (const argv of [['--config', 'x'], ['-c', 'x'], ['--config=x'], ['--backend', 'u'], ['--backend=u']]) {
    assert.equal(readFlags(argv, false).configured, true)
  }
})

test('the address of a configuration file is not guessed', () => {
  assert.equal(readFlags(['--config', 'x.yaml'], false).address, null)
  assert.deepEqual(readFlags(['--config', 'x.yaml', '--listen', '127.0.0.1:9000'], false).address, { host: '127.0.0.1', port: 9000 })
})

test('the last of several values counts, and the rest of the flags is kept', () => {
  const flags = readFlags(['--listen', '127.0.0.1:1', '--store', 'a', '--listen=[::1]:2', '--log-level', 'warn'], false)
  assert.deepEqual(flags.address, { host: '::1', port: 2 })
  assert.equal(flags.store, 'a')
  assert.deepEqual(flags.serve, ['--store', 'a', '--log-level', 'warn'])
})

test('an address that is none is refused, and so are simulated engines beside a configuration', () => {
  for (const listen of ['nonsense', '1.2.3.4', 'h:99999', ':', 'h:x']) {
    assert.throws(() => readFlags(['--listen', listen], false), /--listen needs HOST:PORT/)
  }
  assert.throws(() => readFlags(['--simulated', '--backend', 'u'], false), /--simulated/)
  assert.equal(readFlags(['--simulated'], true).configured, false)
})
