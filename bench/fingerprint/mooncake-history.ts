/**
 * Chains of the Mooncake trace: a request whose blocks begin with all whole blocks of an earlier one continues it. The prediction
 * is the mean log of the chain's own earlier outputs, which is what the fingerprint keeps of a conversation.
 */
import { NO_ANSWERS, withAnswer, type AnswersSoFar } from '../../src/fingerprint/quantities.ts'
import { rowsOf } from '../../training/labelled.ts'

type Request = { readonly hash_ids: readonly number[]; readonly output_length: number }

/** A chain shares this many blocks at least: the first ones are everybody's. */
const FEWEST_SHARED = 2

export function mooncakeHistory(path: string): { readonly predicted: number[]; readonly wanted: number[] } {
  const ends = new Map<string, AnswersSoFar>()
  const predicted: number[] = []
  const wanted: number[] = []
  for (const { hash_ids: blocks, output_length: tokens } of rowsOf<Request>(path)) {
    let answers: AnswersSoFar = NO_ANSWERS
    for (let length = blocks.length; length > FEWEST_SHARED; length--) {
      const found = ends.get(String(blocks[length - 1]))
      if (found === undefined) continue
      answers = found
      break
    }
    if (answers.count > 0) {
      predicted.push(answers.meanLog)
      wanted.push(Math.log1p(tokens))
    }
    const whole = blocks.length - 1
    if (whole > FEWEST_SHARED) ends.set(String(blocks[whole - 1]), withAnswer(answers, tokens))
  }
  // a mean is shrunk towards everyone's, by what a regression on the first half says
  const half = predicted.length >> 1
  const { slope, intercept } = line(predicted.slice(0, half), wanted.slice(0, half))
  return { predicted: predicted.slice(half).map((value) => intercept + slope * value), wanted: wanted.slice(half) }
}

function line(from: readonly number[], to: readonly number[]): { readonly slope: number; readonly intercept: number } {
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
  const [meanFrom, meanTo] = [mean(from), mean(to)]
  let product = 0
  let squares = 0
  from.forEach((value, at) => {
    product += (value - meanFrom) * (to[at]! - meanTo)
    squares += (value - meanFrom) ** 2
  })
  const slope = product / squares
  return { slope, intercept: meanTo - slope * meanFrom }
}
