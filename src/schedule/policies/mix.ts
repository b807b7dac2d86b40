/** A well mixed unsigned 32-bit number from an integer (Chris Wellons' lowbias32) and a salt. */
export const mix32 = (value: number, salt = 0): number => {
  let x = (value ^ salt) >>> 0
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad)
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97)
  return (x ^ (x >>> 15)) >>> 0
}

/** FNV-1a of the UTF-16 units, mixed. */
export const hashText = (text: string): number => {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  return mix32(hash)
}
