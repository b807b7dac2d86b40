import type { StoredResponse } from '../../src/model/response.ts'
import { openSqliteStore } from '../../src/conversation/sqlite-store.ts'
import { saveTurn } from './store-contract.ts'

/** Saves turns of eight chains, and a state, at once until it is killed; prints each id or number when its save is acknowledged. */
const [directory = '', prefix = ''] = process.argv.slice(2)
const store = await openSqliteStore({ directory, nowMs: Date.now })
const chain = async (name: number): Promise<void> => {
  let parent: StoredResponse | null = null
  for (let turn = 0; ; turn += 1) {
    parent = await saveTurn(store, `${prefix}-${name}-${turn}`, turn % 20 === 0 ? null : parent)
    process.stdout.write(`${parent.id}\n`)
  }
}
const states = async (): Promise<void> => {
  for (let n = 0; ; n += 1) {
    await store.saveState('counted', new Uint8Array(new Uint32Array(20_000).fill(n).buffer))
    process.stdout.write(`state ${n}\n`)
  }
}
await Promise.all([states(), ...[0, 1, 2, 3, 4, 5, 6, 7].map(chain)])
