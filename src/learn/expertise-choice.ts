import type { ExpectedQuality } from '../model/quality.ts'
export function choiceProbabilities(expected: readonly ExpectedQuality[], extraCost: readonly number[], explores: number): number[] {
  void extraCost
  void explores
  return expected.map(() => 1 / expected.length)
}
