import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { NumberedFiles } from '../../src/learn/outcomes/numbered-files.ts'

function opened(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'homing-numbered-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const planned: (() => void)[] = []
  const failures: unknown[] = []
  const open = (at = folder): NumberedFiles => new NumberedFiles({
    folder: at, prefix: 'x-', suffix: '.log', after: (_, task) => (planned.push(task), () => {}), onFailure: (error) => failures.push(error),
  })
  return { folder, planned, failures, open }
}

test('nothing is written while a turn waits; one flush writes all, in order', async (t) => {
  const { folder, planned, open } = opened(t)
  const files = open()
  files.append(1, Buffer.from('a'))
  files.append(2, Buffer.from('b'))
  files.append(1, Buffer.from('c'))
  assert.deepEqual([readdirSync(folder), planned.length], [[], 1])
  await files.flush()
  assert.equal(readFileSync(join(folder, 'x-00000001.log'), 'utf8'), 'ac')
  assert.deepEqual([files.counts, open().found, open().sizeOf(2)], [{ bytes: 3, dropped: 0 }, [1, 2], 1])
})

test('a removed file is gone, also one that was never written; other files are left alone', async (t) => {
  const { folder, failures, open } = opened(t)
  writeFileSync(join(folder, 'x-notes.log'), '')
  writeFileSync(join(folder, 'x-00000007.log'), 'seven')
  const files = open()
  assert.deepEqual(files.found, [7])
  files.remove(7)
  files.remove(8)
  await files.flush()
  assert.deepEqual([readdirSync(folder), failures], [['x-notes.log'], []])
})

test('what cannot be written is dropped, counted and told, and what comes after is tried again', async (t) => {
  const { folder, failures, open } = opened(t)
  const files = open(join(folder, 'inner'))
  rmSync(join(folder, 'inner'), { recursive: true })
  files.append(1, Buffer.from('lost'))
  await files.flush()
  files.append(2, Buffer.from('lost too'))
  files.flushSync()
  assert.deepEqual([files.counts, failures.length], [{ bytes: 0, dropped: 12 }, 2])
})

test('what waits for a slow disk is bounded: the newest is dropped', (t) => {
  const { open } = opened(t)
  const files = open()
  for (let n = 0; n < 20; n++) files.append(1, Buffer.alloc(2 ** 20))
  assert.equal(files.counts.dropped, 12 * 2 ** 20)
})
