import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { SectionFile, SectionWriter } from '../../src/fingerprint/section-file.ts'
import { Taxonomy } from '../../src/fingerprint/taxonomy.ts'
import { loadFingerprintModel } from '../../src/fingerprint/fingerprint-model.ts'
import { modelPath } from './shipped.ts'

test('numbers of every type come back as they were written, however they lie', () => {
  const file = new SectionWriter()
  file.add('small', Int8Array.of(-1, 2, -3))
  file.add('large', Float32Array.of(0.5, -2.25))
  file.add('places', Uint32Array.of(4_000_000_000))
  file.addText('words', 'ä\nb')
  const read = SectionFile.parse('memory', file.toBuffer({ content: 'x' }))
  assert.deepEqual([...read.numbers('small', Int8Array)], [-1, 2, -3])
  assert.deepEqual([...read.numbers('large', Float32Array)], [0.5, -2.25])
  assert.deepEqual([...read.numbers('places', Uint32Array)], [4_000_000_000])
  assert.equal(read.text('words'), 'ä\nb')
  assert.throws(() => read.numbers('none', Int8Array), /memory: has no section none/)
})

test('a model file that is damaged, cut, of another version or something else is refused with its path and the reason', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'homing-fingerprint-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'model.homing')
  const whole = readFileSync(modelPath)
  const refused = (content: Buffer, why: RegExp): void => {
    writeFileSync(path, content)
    assert.throws(() => loadFingerprintModel(path), (error: Error) => error.message.startsWith(path) && why.test(error.message))
  }
  const damaged = Buffer.from(whole)
  damaged[4_000_000]! ^= 1
  refused(damaged, /damaged/)
  refused(whole.subarray(0, 100_000), /damaged/)
  const newer = Buffer.from(whole)
  newer.writeUInt32LE(9, 8)
  refused(newer, /format version 9; this version of Homing reads 1/)
  refused(Buffer.from('{}'), /not a fingerprint file/)
  refused(new SectionWriter().toBuffer({ content: 'taxonomy' }), /not a fingerprint model/)
  rmSync(path)
  assert.throws(() => loadFingerprintModel(path), (error: Error) => error.message.startsWith(path))
  assert.throws(() => Taxonomy.load(folder, 'x'), /taxonomy\.homing/)
})

test('the shipped model with its heads stays within 8 MB', () => {
  assert.ok(statSync(modelPath).size <= 8_000_000, String(statSync(modelPath).size))
})
