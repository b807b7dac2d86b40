import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadScript } from './scripts.ts'

type Engine = { readonly port: number; readonly pid: number }
type Keep = {
  keepEngines(options: {
    engines: () => readonly Engine[]; isAlive: (engine: Engine) => boolean; restart: (living: Engine[]) => Promise<unknown>
    say: (text: string) => void; signal: AbortSignal; everyMs: number
  }): Promise<void>
}
const { keepEngines } = await loadScript<Keep>('start/keep-engines.mjs')

/** Engines that die when `dies` says so; the keeper is stopped when it has looked so often. */
async function kept(looks: number, dies: (port: number, look: number) => boolean, restart?: () => Promise<unknown>) {
  const stop = new AbortController()
  const said: string[] = []
  const starts: number[][] = []
  let fleet: Engine[] = [{ port: 1, pid: 10 }, { port: 2, pid: 20 }]
  let look = 0
  await keepEngines({
    engines: () => {
      if (++look > looks) stop.abort()
      return fleet
    },
    isAlive: ({ port }) => !dies(port, look),
    restart: restart ?? ((living) => {
      const missing = fleet.filter(({ port }) => !living.some((engine) => engine.port === port))
      starts.push(missing.map(({ port }) => port))
      fleet = [...living, ...missing.map(({ port, pid }) => ({ port, pid: pid + 1 }))]
      return Promise.resolve()
    }),
    say: (text) => said.push(text), signal: stop.signal, everyMs: 1,
  })
  return { said, starts }
}

test('an engine that died is started again on its port, and those that live are left alone', async () => {
  const { said, starts } = await kept(6, (port, look) => port === 2 && look === 3)
  assert.deepEqual(starts, [[2]])
  assert.deepEqual(said, ['the engine on port 2 ended; starting it again (1 of 3)'])
})

test('an engine that dies every time is left alone after three new starts, and one sentence says so', async () => {
  const { said, starts } = await kept(12, (port) => port === 1)
  assert.deepEqual(starts, [[1], [1], [1]])
  assert.equal(said.length, 4)
  assert.match(said[3]!, /port 1 ended again after 3 new starts; it is left alone/)
})

test('a start that fails is told and tried again', async () => {
  const { said } = await kept(12, (port) => port === 1, () => Promise.reject(new Error('no memory')))
  assert.equal(said.filter((text) => text === 'it could not be started: no memory').length, 3)
})
