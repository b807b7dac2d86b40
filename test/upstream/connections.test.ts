import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Connections } from '../../src/upstream/connections.ts'
import { backendAt } from '../schedule/fixture.ts'

const at = (index: number, url: string) => {
  const backend = backendAt(index)
  return { ...backend, id: 'gpu', config: { ...backend.config, id: 'gpu', url } }
}

test('an id that is used again for another url does not lead to the old one', async (t) => {
  const connections = new Connections()
  t.after(() => connections.close())
  const before = at(0, 'http://127.0.0.1:1/old')
  assert.equal(connections.for(before).basePath, '/old')
  await connections.forget('gpu')
  // a turn that was placed before may still try it
  assert.equal(connections.for(before).basePath, '/old')
  assert.equal(connections.for(at(1, 'http://127.0.0.1:2/new')).basePath, '/new')
  assert.equal(connections.for(before).basePath, '/old')
})
