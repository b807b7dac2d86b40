import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { loadScript } from './scripts.ts'

type Convert = {
  halfToFloat(half: number): number
  floatToHalf(value: number): number
  requantise(source: Uint8Array, from: number, target: Uint8Array, to: number, blocks: number): void
  convertModel(source: Buffer): Buffer
}
const { halfToFloat, floatToHalf, requantise, convertModel } = await loadScript<Convert>('engine/convert.mjs')

const nibble = (bytes: Uint8Array, at: number, i: number): number => {
  const byte = bytes[at + (i & 15)] ?? 0
  return i < 16 ? byte & 15 : byte >> 4
}
const halfAt = (bytes: Uint8Array, at: number): number => halfToFloat((bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8))

test('every half float survives the way to a number and back', () => {
  for (let half = 0; half < 0x10000; half += 1) {
    const value = halfToFloat(half)
    if (!Number.isNaN(value)) assert.equal(floatToHalf(value), half === 0x8000 ? 0x8000 : half)
  }
})

test('a number becomes the nearest half float', () => {
  assert.equal(floatToHalf(1 + 2 ** -11), floatToHalf(1)) // a tie goes to even
  assert.equal(floatToHalf(1 + 3 * 2 ** -11), floatToHalf(1 + 2 ** -9)) // and the next one up
  assert.equal(floatToHalf(65_519), 0x7bff)
  assert.equal(floatToHalf(65_520), 0x7c00)
  assert.equal(floatToHalf(2 ** -25), 0)
})

test('a block in Q4_0 is as near to the block in Q4_1 as 16 steps allow', () => {
  const block = fc.tuple(
    fc.double({ min: 0.001, max: 1, noNaN: true }), fc.double({ min: -8, max: 0, noNaN: true }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
  )
  fc.assert(fc.property(block, ([scale, minimumInSteps, nibbles]) => {
    const source = new Uint8Array(20)
    const view = new DataView(source.buffer)
    view.setUint16(0, floatToHalf(scale), true)
    view.setUint16(2, floatToHalf(minimumInSteps * scale), true)
    source.set(nibbles, 4)
    const target = new Uint8Array(18)
    requantise(source, 0, target, 0, 1)
    const step = halfAt(target, 0)
    for (let i = 0; i < 32; i += 1) {
      const before = nibble(source, 4, i) * halfAt(source, 0) + halfAt(source, 2)
      const after = (nibble(target, 2, i) - 8) * step
      // Half a step of rounding; one whole step at the end opposite to the extreme, where 16 steps reach only 7/8 as far.
      assert.ok(Math.abs(after - before) <= Math.abs(step) * 1.01, `${before} became ${after} with step ${step}`)
    }
  }))
})

/** A GGUF file with one tensor in Q4_1 and one in F32. */
const tinyModel = (): Buffer => {
  const u32 = (n: number): Buffer => { const b = Buffer.alloc(4); b.writeUInt32LE(n); return b }
  const u64 = (n: number): Buffer => { const b = Buffer.alloc(8); b.writeBigUInt64LE(BigInt(n)); return b }
  const text = (s: string): Buffer => Buffer.concat([u64(Buffer.byteLength(s)), Buffer.from(s)])
  const head = Buffer.concat([
    Buffer.from('GGUF'), u32(3), u64(2), u64(3),
    text('general.architecture'), u32(8), text('llama'),
    text('general.file_type'), u32(4), u32(3),
    text('tokens'), u32(9), u32(8), u64(2), text('a'), text('bc'),
    text('w'), u32(2), u64(32), u64(2), u32(3), u64(0),
    text('norm'), u32(1), u64(4), u32(0), u64(64),
  ])
  const padded = Buffer.concat([head, Buffer.alloc((32 - (head.length % 32)) % 32)])
  const weights = Buffer.alloc(64)
  for (const block of [0, 20]) {
    weights.writeUInt16LE(floatToHalf(0.5), block)
    weights.writeUInt16LE(floatToHalf(-4), block + 2)
    weights.fill(0x3c, block + 4, block + 20)
  }
  return Buffer.concat([padded, weights, Buffer.from(new Float32Array([1, 2, 3, 4]).buffer)])
}

test('a model keeps its keys and its other tensors, and its Q4_1 tensors become Q4_0', () => {
  const before = tinyModel()
  const after = convertModel(before)
  // The record of a tensor: name, number of dimensions, two dimensions, type.
  const typeOfW = (model: Buffer): number => model.readUInt32LE(model.indexOf('w\x02\0\0\0') + 1 + 4 + 2 * 8)
  assert.equal(typeOfW(before), 3)
  assert.equal(typeOfW(after), 2)
  assert.equal(after.readUInt32LE(after.indexOf('general.file_type') + 21), 2)
  assert.ok(after.includes('general.architecture') && after.includes('llama') && after.includes('bc'))
  assert.deepEqual([...new Float32Array(new Uint8Array(after.subarray(-32, -16)).buffer)], [1, 2, 3, 4])
})

test('what is not a GGUF file of the known version is refused', () => {
  assert.throws(() => convertModel(Buffer.from('PK\x03\x04 not a model')), /not a GGUF file/)
  const other = tinyModel()
  other.writeUInt32LE(2, 4)
  assert.throws(() => convertModel(other), /version 2/)
  assert.throws(() => convertModel(tinyModel().subarray(0, -70)), /cut short/)
})
