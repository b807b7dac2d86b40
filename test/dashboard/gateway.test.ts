import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pageModule } from './page-module.ts'

type Gateway = {
  readonly hasKey: boolean
  json(path: string, options?: object): Promise<unknown>
  enterKey(): Promise<boolean>
  forgetKey(): void
}
type Options = { base: string; storage: object; askForKey: (why: string) => Promise<string | null>; onRefused?: () => void; fetch: (url: URL, init: { headers: Record<string, string> }) => Promise<Response> }
const { Gateway, sentence } = await pageModule<{ Gateway: new (options: Options) => Gateway; sentence: (error: unknown) => string }>('gateway.js')
const { Poll } = await pageModule<{
  Poll: new (options: { ask: (signal: AbortSignal) => Promise<boolean>; everyMs: number; after: (ms: number, run: () => void) => () => void }) => { start(): void; stop(): void }
}>('poll.js')

/** A gateway that knows the key `right`, and what was asked of it and of its viewer. */
function asked(...typed: (string | null)[]) {
  const seen: { url: string; key: string | null }[] = []
  const questions: string[] = []
  const kept = new Map<string, string>()
  let refused = 0
  const gateway = new Gateway({
    base: 'http://gateway.test/below/homing/',
    storage: { getItem: (name: string) => kept.get(name) ?? null, setItem: (name: string, value: string) => void kept.set(name, value), removeItem: (name: string) => void kept.delete(name) },
    askForKey: async (why) => {
      questions.push(why)
      return typed.shift() ?? null
    },
    onRefused: () => refused++,
    fetch: async (url, { headers }) => {
      const key = headers['authorization']?.slice('Bearer '.length) ?? null
      seen.push({ url: String(url), key })
      return key === 'right' ? Response.json({ data: [] }) : Response.json({ error: { message: 'No such key.', code: 'unauthorized' } }, { status: 401 })
    },
  })
  return { gateway, seen, questions, kept, refused: () => refused }
}

test('a key is asked for when a route answers 401, once for all who wait, and sent in the header only', async () => {
  const { gateway, seen, questions, kept } = asked('right')
  await Promise.all([gateway.json('v1/backends'), gateway.json('../v1/models?limit=1')])
  assert.equal(questions.length, 1)
  assert.deepEqual([...kept.values()], ['right'])
  assert.ok(seen.every(({ url }) => !url.includes('right')))
  assert.deepEqual(new Set(seen.map(({ url }) => url)), new Set(['http://gateway.test/below/homing/v1/backends', 'http://gateway.test/below/v1/models?limit=1']))
  await gateway.json('v1/backends')
  assert.equal(questions.length, 1)
})

test('a wrong key is told and asked for again; who declines is not asked again until something is pressed', async () => {
  const { gateway, seen, questions, refused } = asked('wrong', null, 'right')
  await assert.rejects(gateway.json('v1/backends'), (error) => /Enter one/.test(sentence(error)))
  assert.deepEqual([questions.length, seen.length, refused()], [2, 2, 2])
  assert.match(questions[1]!, /does not know/)
  await assert.rejects(gateway.json('v1/backends'))
  assert.equal(questions.length, 2)
  assert.equal(await gateway.enterKey(), true)
  await gateway.json('v1/backends')
  gateway.forgetKey()
  assert.equal(gateway.hasKey, false)
})

test("each failure is a sentence: the gateway's own words, a key that may not, an answer that is no JSON, none at all, a silence", async () => {
  const told = async (answer: () => Promise<Response>): Promise<string> => {
    const gateway = new Gateway({ base: 'http://gateway.test/homing/', storage: { getItem: () => null }, askForKey: async () => null, fetch: answer })
    return gateway.json('v1/backends').then(() => '', sentence)
  }
  assert.equal(await told(async () => Response.json({ error: { message: 'The limit is 100.' } }, { status: 400 })), 'The limit is 100.')
  assert.match(await told(async () => Response.json({ error: { message: 'no' } }, { status: 403 })), /operator's key/)
  assert.equal(await told(async () => new Response('<h1>Bad Gateway</h1>', { status: 502 })), 'The answer was HTTP 502.')
  assert.equal(await told(async () => Promise.reject(new TypeError('fetch failed'))), 'The gateway cannot be reached.')
  assert.match(await told(async () => Promise.reject(new DOMException('late', 'TimeoutError'))), /did not answer within 10 s/)
})

/** Polls with a clock that is turned by hand. */
function polled(everyMs: number) {
  const waiting: { ms: number; run: () => void }[] = []
  const questions: { signal: AbortSignal; answer: (well: boolean) => void }[] = []
  const poll = new Poll({
    everyMs,
    ask: (signal) => new Promise((answer) => questions.push({ signal, answer })),
    after: (ms, run) => {
      const timer = { ms, run }
      waiting.push(timer)
      return () => void waiting.splice(waiting.indexOf(timer), 1)
    },
  })
  const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  return {
    poll, waiting, questions,
    answer: async (well: boolean) => {
      questions.at(-1)!.answer(well)
      await settled()
    },
  }
}

test('one question at a time, the next one after its pause; failures double the pause up to 30 s', async () => {
  const { poll, waiting, questions, answer } = polled(2000)
  poll.start()
  poll.start()
  assert.deepEqual([questions.length, waiting.length], [1, 0])
  const pauses: number[] = []
  for (const well of [true, false, false, false, false, false, true]) {
    await answer(well)
    assert.equal(waiting.length, 1)
    pauses.push(waiting[0]!.ms)
    waiting.shift()!.run()
  }
  assert.deepEqual(pauses, [2000, 4000, 8000, 16_000, 30_000, 30_000, 2000])
})

test('nothing is asked once nobody looks; the question under way is given up', async () => {
  const { poll, waiting, questions, answer } = polled(2000)
  poll.start()
  poll.stop()
  assert.equal(questions[0]!.signal.aborted, true)
  await answer(true)
  assert.equal(waiting.length, 0)
  poll.start()
  await answer(true)
  assert.equal(waiting.length, 1)
  poll.stop()
  assert.equal(waiting.length, 0)
  assert.equal(questions.length, 2)
})
