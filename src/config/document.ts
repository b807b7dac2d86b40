import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml'
import type { Document, Node } from 'yaml'
import type { Path } from './place.ts'
import type { ConfigProblem } from './problem.ts'

/** A YAML (or JSON) text that knows the line of every path in it. */
export class ConfigDocument {
  readonly value: unknown
  /** What makes the text itself unreadable. */
  readonly problems: readonly ConfigProblem[]
  readonly #document: Document
  readonly #lines: LineCounter

  constructor(text: string) {
    this.#lines = new LineCounter()
    this.#document = parseDocument(text, { lineCounter: this.#lines, merge: true, prettyErrors: false })
    const problems: ConfigProblem[] = this.#document.errors.map((error) => ({
      path: '', message: `not valid YAML: ${error.message}`, line: this.#lines.linePos(error.pos[0]).line,
    }))
    let value: unknown = null
    if (problems.length === 0) {
      try {
        value = this.#document.toJS({ maxAliasCount: 100 })
      } catch (cause) {
        const why = cause instanceof Error ? cause.message : String(cause)
        problems.push({ path: '', message: `not valid YAML: ${why}`, line: null })
      }
    }
    this.value = value
    this.problems = problems
  }

  /** The line of the path, or of the deepest part of it that exists. */
  lineOf(path: Path): number | null {
    let node: unknown = this.#document.contents
    let offset: number | null = null
    for (const part of path) {
      if (isAlias(node)) node = node.resolve(this.#document)
      if (isMap(node)) {
        const pair = node.items.find((item) => (isScalar(item.key) ? String(item.key.value) : null) === String(part))
        if (pair === undefined) break
        offset = start(pair.key) ?? offset
        node = pair.value
      } else if (isSeq(node) && typeof part === 'number') {
        node = node.items[part]
        offset = start(node) ?? offset
      } else {
        break
      }
    }
    return offset === null ? null : this.#lines.linePos(offset).line
  }
}

function start(node: unknown): number | null {
  return (node as Node | null | undefined)?.range?.[0] ?? null
}
