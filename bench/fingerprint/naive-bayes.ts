/** The lexical floor: multinomial naive Bayes over words, counts smoothed by one. */
import type { LabelledText } from '../../src/fingerprint/training-lines.ts'

const wordsOf = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}']+/gu) ?? []

export class NaiveBayes {
  readonly #labels = new Map<string, { examples: number; words: number; counts: Map<string, number> }>()
  readonly #vocabulary = new Set<string>()
  readonly #examples: number

  constructor(examples: readonly LabelledText[]) {
    this.#examples = examples.length
    for (const { text, label } of examples) {
      const of = this.#labels.get(label) ?? { examples: 0, words: 0, counts: new Map<string, number>() }
      this.#labels.set(label, of)
      of.examples++
      for (const word of wordsOf(text)) {
        of.words++
        of.counts.set(word, (of.counts.get(word) ?? 0) + 1)
        this.#vocabulary.add(word)
      }
    }
  }

  best(text: string): string {
    const words = wordsOf(text)
    let best = ''
    let most = -Infinity
    for (const [label, { examples, words: all, counts }] of this.#labels) {
      let score = Math.log(examples / this.#examples)
      for (const word of words) score += Math.log(((counts.get(word) ?? 0) + 1) / (all + this.#vocabulary.size))
      if (score > most) {
        most = score
        best = label
      }
    }
    return best
  }
}
