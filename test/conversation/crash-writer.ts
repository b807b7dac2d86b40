import type { StoredResponse } from '../../src/model/response.ts'
import { openSqliteStore } from '../../src/conversation/sqlite-store.ts'
import { saveTurn } from './store-contract.ts'

/** Saves turns of eight chains at once until it is killed; prints each id when its save is acknowledged. */
const [directory = '', prefix = ''] = process.argv.slice(2)
const store = await openSqliteStore({ directory, nowMs: Date.now })
const chain = async (name: number): Promise<void> => {
  let parent: StoredResponse | null = null
  for (let turn = 0; ; turn += 1) {
    parent = await saveTurn(store, `${prefix}-${name}-${turn}`, turn % 20 === 0 ? null : parent)
    process.stdout.write(`${parent.id}\n`)
  }
}
await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(chain))
