import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadConfig, type ConfigError } from '../../src/config.ts'

const withEvents = (events: unknown): string => JSON.stringify({ backends: [{ url: 'http://h:1', kv_events: events }] })
const read = (events: unknown) => loadConfig({ text: withEvents(events), env: {} }).backends[0]?.kvEvents
const problems = (events: unknown): string[] => {
  try {
    read(events)
    return []
  } catch (error) {
    return (error as ConfigError).problems.map(({ path, message }) => `${path}: ${message}`)
  }
}

test('kv_events of a backend: the endpoint alone, or with replay, topic, tokenize and tiers', () => {
  const alone = { endpoint: 'tcp://10.0.0.7:5557', replay: null, topic: '', tokenize: 'auto', tiers: { cpu: 60_000, store: 10_000 } }
  assert.deepEqual(read('tcp://10.0.0.7:5557'), alone)
  assert.deepEqual(
    read({ endpoint: 'tcp://[::1]:5557', replay: 'tcp://gpu-1.internal:5558', topic: 'kv-events', tokenize: 'observe', tiers: { cpu: 9000 } }),
    { endpoint: 'tcp://[::1]:5557', replay: 'tcp://gpu-1.internal:5558', topic: 'kv-events', tokenize: 'observe', tiers: { cpu: 9000, store: 10_000 } },
  )
  assert.equal(loadConfig({ text: '{backends: [{url: "http://h:1"}]}', env: {} }).backends[0]?.kvEvents, undefined)
})

test('kv_events that cannot work are refused with their place and a reason', () => {
  const place = 'backends[0].kv_events'
  assert.deepEqual(problems({ endpoint: 'tcp://*:5557' }), [`${place}.endpoint: 'tcp://*:5557' is what the engine binds to; name the host that it can be reached at`])
  assert.deepEqual(problems({ endpoint: '10.0.0.7:5557' }), [`${place}.endpoint: '10.0.0.7:5557' is not tcp://HOST:PORT, such as tcp://10.0.0.7:5557`])
  assert.deepEqual(problems({ replay: 'tcp://h:2' }), [`${place}.endpoint: missing`])
  assert.deepEqual(problems({ endpoint: 'tcp://h:2', replay: 'tcp://h:2' }), [
    `${place}.replay: is the endpoint of the events themselves; an engine publishes and replays on two ports`,
  ])
  assert.deepEqual(problems({ endpoint: 'tcp://h:2', tiers: { cpu: 0 } }), [`${place}.tiers.cpu: expected a whole number, 1 or more, but got 0`])
  assert.equal(problems({ endpoint: 'tcp://h:70000', topik: 'x' }).length, 2)
  assert.equal(problems(['tcp://h:2']).length, 1)
})
