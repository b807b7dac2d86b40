import { closest, distance } from 'fastest-levenshtein'

/**
 * What to say after a word that is not one of `valid`: the nearest one as a question when it is a likely slip (edit
 * distance up to 2, or a third of the word), else the nearest one and the whole list.
 */
export function nearest(word: string, valid: readonly string[]): string {
  if (valid.length === 0) return 'nothing is expected here'
  const best = closest(word.toLowerCase(), valid)
  if (distance(word.toLowerCase(), best) <= Math.max(2, Math.floor(word.length / 3))) return `did you mean '${best}'?`
  return `the nearest is '${best}'; known: ${valid.join(', ')}`
}
