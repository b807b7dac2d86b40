import { fnv1a } from '../../model/text-hash.ts'

/** A well mixed unsigned 32-bit number from an integer (Chris Wellons' lowbias32) and a salt. */
export const mix32 = (value: number, salt = 0): number => {
  let x = (value ^ salt) >>> 0
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad)
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97)
  return (x ^ (x >>> 15)) >>> 0
}

/** FNV-1a of the UTF-16 units, mixed. */
export const hashText = (text: string): number => mix32(fnv1a(text))
