/**
 * Seeded random numbers: sfc32 (Chris Doty-Humphrey's Small Fast Counter, PractRand), seeded through splitmix32.
 * The same seed gives the same run on every machine.
 */
export { mix32 } from '../src/schedule/policies/mix.ts'

export type Random = () => number

export const seededRandom = (seed: number): Random => {
  let state = seed | 0
  const split = (): number => {
    state = (state + 0x9e3779b9) | 0
    let z = state ^ (state >>> 16)
    z = Math.imul(z, 0x21f0aaad)
    z ^= z >>> 15
    z = Math.imul(z, 0x735a2d97)
    return z ^ (z >>> 15)
  }
  let a = split()
  let b = split()
  let c = split()
  let counter = 1
  return () => {
    const t = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + t) | 0
    return (t >>> 0) / 4294967296
  }
}

export const integerBelow = (random: Random, bound: number): number => Math.floor(random() * bound)

export const exponential = (random: Random, mean: number): number => -Math.log(1 - random()) * mean

/** Box and Muller. */
export const standardNormal = (random: Random): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())

/** Median and the standard deviation of the logarithm. */
export const logNormal = (random: Random, median: number, sigma: number): number =>
  median * Math.exp(sigma * standardNormal(random))
