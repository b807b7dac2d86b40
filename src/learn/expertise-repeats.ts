/**
 * The same question again says less about the next one. Outcomes of one question and one model are alike (always, where the model
 * is asked without chance), so n of them say about as much of its topic as the square root of n different questions would:
 *
 *   the n-th outcome of a question counts sqrt(n) - sqrt(n - 1)
 *
 * Counted in full, a few hundred questions that come again and again would be learned by heart: on public outcome matrices with
 * 1,500 questions asked 8,000 times, what is chosen for questions never asked gains a sixth more with this rule (bench record). With
 * few questions it still learns, only slower. The change test is not concerned: of a change every outcome tells.
 *
 * A question is known by what its subject says of it (topics, intent, complexity), hashed; two that look quite alike count as
 * one. Of turns that nobody read all look alike and none is known to be a repeat: each counts in full. A table of fixed size, 192 kB: whoever comes to a taken place takes it over, and the other begins anew. Forgotten at a restart.
 */
import type { Subject } from '../model/quality.ts'
import { fnv1a } from '../model/text-hash.ts'

const PLACES = 32_768
/** Subjects are kept in steps of 1/65,535 where answers wait for their outcomes. */
const STEPS = 16_384
const MOST = 65_535

export class Repeats {
  readonly #tags = new Uint32Array(PLACES)
  readonly #counts = new Uint16Array(PLACES)

  /** What one more outcome counts, 1 or less; a negative `weight` takes the last one back and counts what that one did. */
  share(model: string, subject: Subject, weight: number): number {
    if (subject.topics.length === 0) return 1
    const tag = tagOf(model, subject)
    const place = tag % PLACES
    const known = this.#tags[place] === tag ? this.#counts[place]! : 0
    const number = weight < 0 ? Math.max(1, known) : Math.min(MOST, known + 1)
    this.#tags[place] = tag
    this.#counts[place] = weight < 0 ? number - 1 : number
    return Math.sqrt(number) - Math.sqrt(number - 1)
  }
}

function tagOf(model: string, { topics, intent, inScope, complexity }: Subject): number {
  let hash = fnv1a(model)
  const add = (probability: number): void => {
    hash = Math.imul(hash ^ Math.round(STEPS * probability), 0x9e3779b1)
    hash ^= hash >>> 15
  }
  for (const [, probability] of topics) add(probability)
  add(intent[1])
  add(inScope)
  add(complexity)
  return hash >>> 0
}
