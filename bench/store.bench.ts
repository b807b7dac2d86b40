import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { JsonObject } from '../src/model/json.ts'
import type { StoredItem } from '../src/model/item.ts'
import type { StoredResponse } from '../src/model/response.ts'
import { openDatabase } from '../src/conversation/sqlite-driver.ts'
import { openSqliteStore } from '../src/conversation/sqlite-store.ts'

/**
 * What a stored turn costs: `node dist/bench/store.bench.js [turns]`. Conversations of 100 turns with 2 new items of 1 KB
 * each and 12 KB of tools, saved in groups; beside it one bare INSERT of the same new bytes, committed in the same groups.
 */
const turns = Number(process.argv[2] ?? 2_000)
const TURNS_PER_CONVERSATION = 100
const directory = mkdtempSync(join(tmpdir(), 'homing-bench-'))

const text = 'the quick brown fox jumps over the lazy dog '.repeat(24).slice(0, 1_000)
const hex = (n: number): string => n.toString(16).padStart(48, '0')
const tools: readonly JsonObject[] = Array.from({ length: 20 }, (_, index) => ({
  type: 'function', name: `tool_${index}`, description: text.slice(0, 400), parameters: { type: 'object', properties: {} },
}))
const message = (id: string, role: string): StoredItem => ({ type: 'message', id, role, content: [{ type: 'input_text', text }] })

const microseconds = async (count: number, work: () => Promise<void>): Promise<number> => {
  const start = process.hrtime.bigint()
  await work()
  return Number(process.hrtime.bigint() - start) / 1e3 / count
}

type Turn = { readonly response: StoredResponse; readonly items: readonly StoredItem[] }
const make = (first: number, count: number): Turn[] => {
  const made: Turn[] = []
  let parent: StoredResponse | null = null
  for (let n = first; n < first + count; n += 1) {
    const items = [message(`msg_a${hex(n)}`, 'user'), message(`msg_b${hex(n)}`, 'assistant')] as const
    if (n % TURNS_PER_CONVERSATION === 0) parent = null
    const response: StoredResponse = {
      id: `resp_${hex(n)}`, tenant: 'acme', createdAtMs: n, previousResponseId: parent?.id ?? null, conversationId: null,
      sessionId: `s${n}`, model: 'qwen', home: { backendId: 'a', servedModel: 'qwen', protocol: 'chat' }, promptTokens: 1,
      receipt: null, tools,
      resource: { id: `resp_${hex(n)}`, object: 'response', output: [items[1]], tools, usage: { input_tokens: 1 } },
      inputItemIds: [...(parent?.inputItemIds ?? []), ...(parent?.outputItemIds ?? []), items[0].id],
      outputItemIds: [items[1].id],
    }
    made.push({ response, items })
    parent = response
  }
  return made
}

const print = (what: string, value: number, bare?: number): void =>
  console.log(`${what.padEnd(58)}${value.toFixed(1).padStart(9)} us${bare === undefined ? '' : `  ${(value / bare).toFixed(2)}x bare`}`)

try {
  for (const group of [1, 16, 64]) {
    const database = await openDatabase({ directory: join(directory, `bare-${group}`), synchronous: 'normal', maxPages: null })
    database.exec('CREATE TABLE t (row INTEGER PRIMARY KEY, id TEXT UNIQUE, body TEXT)')
    const insert = database.prepare('INSERT INTO t (id, body) VALUES (?, ?)')
    const work = make(0, turns)
    const bare = await microseconds(turns, async () => {
      for (let n = 0; n < turns; n += group) {
        database.exec('BEGIN')
        for (const { response, items } of work.slice(n, n + group)) insert.run(response.id, JSON.stringify(items))
        database.exec('COMMIT')
      }
    })
    database.close()
    print(`bare INSERT of the new items, groups of ${group}`, bare)

    const store = await openSqliteStore({ directory: join(directory, String(group)), nowMs: Date.now })
    const saved = await microseconds(turns, async () => {
      for (let n = 0; n < turns; n += group) {
        await Promise.all(work.slice(n, n + group).map((turn) => store.saveResponse({ ...turn, conversationAppend: null })))
      }
    })
    print(`saveResponse, groups of ${group}`, saved, bare)
    if (group === 64) {
      const long = work[TURNS_PER_CONVERSATION / 2]?.response
      if (long === undefined) throw new Error('run at least 100 turns')
      const rounds = 200
      print(`getResponse with ${long.inputItemIds.length} input items`, await microseconds(rounds, async () => {
        for (let n = 0; n < rounds; n += 1) await store.getResponse('acme', long.id)
      }))
      print(`getItems of ${long.inputItemIds.length} items`, await microseconds(rounds, async () => {
        for (let n = 0; n < rounds; n += 1) await store.getItems('acme', long.inputItemIds)
      }))
      const bodies = (await store.getItems('acme', long.inputItemIds)).map((found) => JSON.stringify(found))
      print('  of which JSON.parse', await microseconds(rounds, async () => {
        for (let n = 0; n < rounds; n += 1) for (const body of bodies) JSON.parse(body)
      }))
      print(`recentResponses(${Math.min(turns, 1_000)}), each`, await microseconds(Math.min(turns, 1_000), async () => {
        await store.recentResponses(Math.min(turns, 1_000))
      }))
      const { bytes, responses } = store.stats()
      console.log(`bytes per turn: ${(bytes / responses).toFixed(0)} (new items ${JSON.stringify(work[0]?.items).length})`)
      print('deleteResponse, all of them, each', await microseconds(turns, async () => {
        await Promise.all(work.map(({ response }) => store.deleteResponse('acme', response.id)))
      }))
    }
    await store.close()
  }
} finally {
  rmSync(directory, { recursive: true, force: true })
}
