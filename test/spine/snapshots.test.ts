import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryStore } from '../../src/conversation/memory-store.ts'
import { Snapshots, type SnapshotPart, type SnapshotPorts } from '../../src/snapshots.ts'

type Kept = { text: string; part: SnapshotPart; saves: number }

const kept = (name: string, text: string, changed?: () => boolean): Kept => {
  const own: Kept = {
    text,
    saves: 0,
    part: {
      name,
      ...(changed === undefined ? {} : { changed }),
      save: () => {
        own.saves++
        return Buffer.from(own.text)
      },
      restore: (bytes) => {
        const read = Buffer.from(bytes).toString()
        if (read.startsWith('v2')) throw new Error('is of version 2')
        own.text = read
      },
    },
  }
  return own
}

const ports = (store: SnapshotPorts['store'] = new MemoryStore({ nowMs: () => 0 })) => {
  const failures: string[] = []
  return {
    store,
    failures,
    failed: (what: string, part: string, error: unknown) => void failures.push(`${what} ${part} ${(error as Error).message}`),
  }
}

test('what was learnt is there after a restart, and other work goes first between two parts', async () => {
  const own = ports()
  let rests = 0
  await new Snapshots([kept('lengths', 'l1').part, kept('gaps', 'g1').part], own).write(async () => void rests++)
  assert.equal(rests, 2)
  const [lengths, gaps, expertise] = [kept('lengths', ''), kept('gaps', ''), kept('expertise', 'new')]
  const after = new Snapshots([lengths.part, gaps.part, expertise.part], own)
  await after.load()
  assert.deepEqual([lengths.text, gaps.text, expertise.text, after.counts.restored, own.failures], ['l1', 'g1', 'new', 2, []])
})

test('what did not change is not written again, by its own word or by its content', async () => {
  const own = ports()
  let changed = true
  const [told, compared] = [kept('told', 'a', () => changed), kept('compared', 'b')]
  const snapshots = new Snapshots([told.part, compared.part], own)
  await snapshots.write(async () => {})
  changed = false
  await snapshots.write(async () => {})
  assert.deepEqual([told.saves, compared.saves, snapshots.counts.written], [1, 2, 2])
  compared.text = 'c'
  changed = true
  await snapshots.write(async () => {})
  assert.deepEqual([told.saves, compared.saves, snapshots.counts.written], [2, 3, 3])
  const restored = kept('compared', '')
  const after = new Snapshots([restored.part], own)
  await after.load()
  await after.write(async () => {})
  assert.deepEqual([restored.text, after.counts.written], ['c', 0])
})

test('a snapshot that is damaged, of another version or none is set aside and counted, and the others are restored', async () => {
  const own = ports()
  await new Snapshots([kept('damaged', 'x'.repeat(100)).part, kept('newer', 'v2').part, kept('good', 'g').part], own).write(async () => {})
  const bytes = (await own.store.loadState('damaged'))!
  bytes[60]! ^= 1
  await own.store.saveState('damaged', bytes)
  await own.store.saveState('foreign', Buffer.from('something else'))
  const [damaged, newer, good, foreign] = ['damaged', 'newer', 'good', 'foreign'].map((name) => kept(name, 'anew')) as [Kept, Kept, Kept, Kept]
  const snapshots = new Snapshots([damaged, newer, good, foreign].map(({ part }) => part), own)
  await snapshots.load()
  assert.deepEqual([damaged.text, newer.text, good.text, foreign.text], ['anew', 'anew', 'g', 'anew'])
  assert.deepEqual(own.failures, [
    'snapshot_unread damaged is damaged: its checksum does not match its content',
    'snapshot_unread newer is of version 2',
    'snapshot_unread foreign is no snapshot',
  ])
  assert.deepEqual(await own.store.loadState('damaged.unread'), bytes)
  await snapshots.write(async () => {})
  const again = kept('damaged', '')
  await new Snapshots([again.part], own).load()
  assert.equal(again.text, 'anew')
})

test('a store that cannot read or write refuses nothing: it is counted, and what failed is written the next time', async () => {
  let broken = true
  const store = new MemoryStore({ nowMs: () => 0 })
  const own = ports({
    saveState: async (name, bytes) => {
      if (broken) throw new Error('the disk is full')
      await store.saveState(name, bytes)
    },
    loadState: async () => {
      throw new Error('cannot be read')
    },
  })
  const lengths = kept('lengths', 'l1', () => false)
  const gaps = kept('gaps', 'g1')
  const snapshots = new Snapshots([lengths.part, gaps.part], own)
  await snapshots.load()
  await snapshots.write(async () => {})
  assert.deepEqual([snapshots.counts.unread, snapshots.counts.unwritten], [2, 1])
  broken = false
  await snapshots.write(async () => {})
  assert.equal((await store.loadState('gaps')) === null, false)
})

test('what changes while a snapshot is written is written by the next one, which waits for it', async () => {
  const store = new MemoryStore({ nowMs: () => 0 })
  const waiting: (() => void)[] = []
  const own = ports({
    saveState: async (name, bytes) => {
      await new Promise<void>((resolve) => void waiting.push(resolve))
      await store.saveState(name, bytes)
    },
    loadState: (name) => store.loadState(name),
  })
  const lengths = kept('lengths', 'first')
  const snapshots = new Snapshots([lengths.part], own)
  const writes = [snapshots.write(async () => {}), snapshots.write(async () => {})]
  lengths.text = 'second'
  waiting.shift()!()
  await writes[0]
  while (waiting.length === 0) await Promise.resolve()
  waiting.shift()!()
  await writes[1]
  const after = kept('lengths', '')
  await new Snapshots([after.part], own).load()
  assert.equal(after.text, 'second')
})

test('two parts of one name are refused', () => {
  assert.throws(() => new Snapshots([kept('a', '').part, kept('a', '').part], ports()), /same name/)
})
