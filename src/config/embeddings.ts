/** `fingerprint.embeddings`: a model behind POST /v1/embeddings that makes the embeddings of conversations instead of the shipped table. */
import { backendUrl } from './address.ts'
import { isMapping, Section, type Reader } from './place.ts'
import { duration, integer, secret, text } from './values.ts'

export type EmbeddingsConfig = {
  /** Base URL, without `/v1`. */
  readonly url: string
  readonly model: string
  readonly key: string | null
  /** From asking to having the answer; later ones are not used. */
  readonly deadlineMs: number
  /** Asked of the model and expected of its answers; null: what its first answer has. */
  readonly dimensions: number | null
  /** At most so many of an item are sent, two thirds of them its beginning. */
  readonly characters: number
}

export const EMBEDDINGS_DEFAULTS = {
  deadlineMs: 50,
  /** 500 tokens of English: sentence encoders read 512, and some servers refuse what is longer. */
  characters: 2000,
} as const

const LONGEST_ITEM = 100_000

export function embeddingsReader(env: Readonly<Record<string, string | undefined>>): Reader<EmbeddingsConfig> {
  return (value, place) => {
    const section = new Section(value, place, ['url', 'model', 'key', 'deadline', 'dimensions', 'characters'])
    if (!isMapping(value)) return undefined
    const url = section.required('url', backendUrl)
    const model = section.required('model', text)
    const characters = section.read<number>('characters', integer(1), EMBEDDINGS_DEFAULTS.characters)
    if (characters > LONGEST_ITEM) place.at('characters').problem(`must be at most ${LONGEST_ITEM}`)
    const config = {
      key: section.read<string | null>('key', secret(env), null),
      deadlineMs: section.read<number>('deadline', duration(1), EMBEDDINGS_DEFAULTS.deadlineMs),
      dimensions: section.read<number | null>('dimensions', integer(1), null),
      characters,
    }
    return url === undefined || model === undefined ? undefined : { url, model, ...config }
  }
}
