/**
 * What a text looks like from afar, in a dozen numbers of about 0 to 1: how long, how many questions, how much of it is digits
 * or marks. They carry what embedding and n-grams do not: length and form. One pass over at most `READ` characters.
 */
import type { TextFeatures } from './text-features.ts'

export const SHAPE = [
  'constant',
  'log of the tokens',
  'log of the characters',
  'digits',
  'capitals',
  'marks',
  'lines',
  'question marks',
  'sentences',
  'length of a word',
  'unknown words',
  'marks of code',
  'marks of mathematics',
] as const

const READ = 7500

export function shapeOf(text: string, features: TextFeatures, into: Float32Array): void {
  const length = Math.min(text.length, READ)
  let digits = 0
  let capitals = 0
  let marks = 0
  let lines = 0
  let questions = 0
  let sentences = 0
  let code = 0
  let mathematics = 0
  for (let place = 0; place < length; place++) {
    const unit = text.charCodeAt(place)
    if (unit >= 48 && unit <= 57) digits++
    else if (unit >= 65 && unit <= 90) capitals++
    else if (unit === 10) lines++
    else if (unit > 32 && unit < 127 && !(unit >= 97 && unit <= 122)) {
      marks++
      if (unit === 63) questions++
      else if (unit === 46 || unit === 33) sentences++
      else if (unit === 123 || unit === 125 || unit === 59 || unit === 95 || unit === 96) code++
      else if (unit === 61 || unit === 94 || unit === 43 || unit === 92) mathematics++
    }
  }
  const share = 1 / Math.max(20, length)
  into[0] = 1
  into[1] = Math.log1p(features.tokenCount * features.stretch) / 7
  into[2] = Math.log1p(text.length) / 10
  into[3] = Math.min(1, 4 * digits * share)
  into[4] = Math.min(1, 4 * capitals * share)
  into[5] = Math.min(1, 4 * marks * share)
  into[6] = Math.min(1, Math.log1p(lines) / 4)
  into[7] = Math.min(1, questions / 3)
  into[8] = Math.min(1, Math.log1p(sentences) / 3)
  into[9] = Math.min(1, length / Math.max(1, features.words) / 12)
  into[10] = Math.min(1, features.unknownShare)
  into[11] = Math.min(1, 20 * code * share)
  into[12] = Math.min(1, 20 * mathematics * share)
}
