import { nearest } from './nearest.ts'

export type Path = readonly (string | number)[]

/** `['backends', 1, 'url']` reads `backends[1].url`. */
export function formatPath(path: Path): string {
  let text = ''
  for (const part of path) text += typeof part === 'number' ? `[${part}]` : text === '' ? part : `.${part}`
  return text
}

/** A place in the configuration where problems are reported; reading goes on after one, so that all are found. */
export class Place {
  readonly path: Path
  readonly #report: (path: Path, message: string) => void

  constructor(path: Path, report: (path: Path, message: string) => void) {
    this.path = path
    this.#report = report
  }

  at(part: string | number): Place {
    return new Place([...this.path, part], this.#report)
  }

  problem(message: string): undefined {
    this.#report(this.path, message)
    return undefined
  }
}

/** Reads one value; on a bad value reports at the place and returns undefined. */
export type Reader<T> = (value: unknown, place: Place) => T | undefined

/** A mapping with a known set of keys. Unknown keys are reported at once; a key without a value counts as absent. */
export class Section {
  readonly place: Place
  readonly #value: Readonly<Record<string, unknown>>

  constructor(value: unknown, place: Place, keys: readonly string[]) {
    this.place = place
    if (!isMapping(value)) {
      place.problem(`expected a mapping with ${keys.join(', ')}, but got ${describe(value)}`)
      this.#value = {}
      return
    }
    this.#value = value
    for (const key of Object.keys(value)) {
      if (!keys.includes(key)) place.at(key).problem(`unknown key; ${nearest(key, keys)}`)
    }
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#value, key) && this.#value[key] !== null && this.#value[key] !== undefined
  }

  raw(key: string): unknown {
    return this.has(key) ? this.#value[key] : undefined
  }

  read<T>(key: string, reader: Reader<T>, fallback: T): T {
    if (!this.has(key)) return fallback
    const read = reader(this.#value[key], this.place.at(key))
    return read === undefined ? fallback : read // null is a value: `none`
  }

  /** Undefined after a reported problem. */
  required<T>(key: string, reader: Reader<T>): T | undefined {
    if (!this.has(key)) return this.place.at(key).problem('missing')
    return reader(this.#value[key], this.place.at(key))
  }
}

export function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The kind of a value, without its content: it may be a secret. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' ? 'a mapping' : `a ${typeof value}`
}
