import { readFileSync } from 'node:fs'
import type { Fingerprinter, TurnFingerprint } from '../fingerprint/fingerprinter.ts'
import { loadConfig } from '../config.ts'
import type { LabelExamples } from '../fingerprint/labels-by-example.ts'
import type { Taxonomy } from '../fingerprint/taxonomy.ts'
import { isObject } from '../model/json.ts'
import { textOption, textOptions, UsageError, type Command, type Terminal } from './command.ts'
import { fingerprintAssetPath } from '../fingerprint-asset.ts'
import { conversationOf, type BatchConversation } from './fingerprint-lines.ts'

export const fingerprint: Command = {
  name: 'fingerprint',
  summary: 'fingerprint messages and dialogues from a file',
  description:
    'Reads one JSON object a line: {"id","text"}, {"id","turns":[{"speaker","text"}]}, or a logged request with "input" or\n' +
    '"messages". Prints one JSON object a message or turn, in order, each knowing nothing later: id, turn, topics, shift,\n' +
    'intent, in_scope, entities [type, start, end] in UTF-16 units, complexity, expected_output_tokens, embedding, us\n' +
    '(microseconds of processor time). The same code as the gateway runs. With --config, the topics and intents under\n' +
    "`fingerprint` of FILE are used: folders, and labels by example. A remote embeddings model is not asked: `embedding` is\n" +
    "the shipped table's.",
  positionals: [],
  options: {
    input: { type: 'string', value: 'FILE', help: 'the lines; - reads standard input' },
    taxonomy: { type: 'string', value: 'DIR', multiple: true, help: 'topics or intents of your own instead of the shipped' },
    config: { type: 'string', value: 'FILE', help: 'a configuration whose own topics and intents are used' },
  },
  async run(input, terminal) {
    const path = textOption(input, 'input')
    if (path === undefined) throw new UsageError('needs --input FILE')
    const { loadFingerprintModel } = await import('../fingerprint/fingerprint-model.ts')
    const { Taxonomy: Loaded } = await import('../fingerprint/taxonomy.ts')
    const { Fingerprinter } = await import('../fingerprint/fingerprinter.ts')
    const model = loadFingerprintModel(fingerprintAssetPath())
    const own: { topics?: Taxonomy; intents?: Taxonomy } = {}
    const configured = configuredLabels(textOption(input, 'config'), terminal)
    for (const directory of [...configured.folders, ...textOptions(input, 'taxonomy')]) {
      const taxonomy = Loaded.load(directory, model.table)
      if (own[taxonomy.kind] !== undefined) throw new UsageError(`two taxonomies of ${taxonomy.kind}; give one of each kind`)
      own[taxonomy.kind] = taxonomy
    }
    const fingerprinter = new Fingerprinter(model, own, configured.examples)
    warmUp(fingerprinter)
    const lines = new LineWriter(terminal)
    let number = 0
    for (const line of readFileSync(path === '-' ? 0 : path, 'utf8').split('\n')) {
      number++
      if (line.trim() === '') continue
      const conversation = parsed(line)
      if (conversation === null) {
        lines.close()
        terminal.complain(`${path}: line ${number} is not {"id","text"}, {"id","turns":[...]} or a request`)
        return 1
      }
      const state = fingerprinter.begin()
      conversation.turns.forEach(({ speaker, text }, at) => {
        const before = process.cpuUsage()
        const turn = fingerprinter.update(state, speaker, text)
        const used = process.cpuUsage(before)
        lines.write(row(conversation, at, turn, used.user + used.system))
      })
    }
    lines.close()
    return 0
  },
}

type ConfiguredLabels = {
  readonly folders: readonly string[]
  readonly examples: { readonly topics?: LabelExamples; readonly intents?: LabelExamples }
}

function configuredLabels(file: string | undefined, terminal: Terminal): ConfiguredLabels {
  if (file === undefined) return { folders: [], examples: {} }
  const { fingerprint: section } = loadConfig({ file, env: terminal.env })
  if (section === null) throw new UsageError(`${file}: fingerprints are switched off there`)
  const { topics, intents } = section
  const folders = [topics.folder, intents.folder].filter((folder) => folder !== null)
  return { folders, examples: { topics: topics.examples, intents: intents.examples } }
}

/** The first hundreds of turns of a process run uncompiled; a gateway is past that, so what is measured here is too. */
function warmUp(fingerprinter: Fingerprinter): void {
  const sentences = [
    'Could you book a table for two at half past seven tomorrow, please?',
    'The build of src/main.ts fails with TypeError: x is not a function at parse_config() since v1.2.3.',
    'Thanks, that costs $12.50 and Anna Smith from Boston pays it on March 3rd. What else do you need?',
    'yes',
  ]
  const until = performance.now() + WARM_UP_MS
  for (let round = 0; performance.now() < until; round++) {
    const state = fingerprinter.begin()
    for (const sentence of sentences) fingerprinter.update(state, round % 3 === 0 ? 'assistant' : 'user', sentence)
  }
}
const WARM_UP_MS = 150

const EMBEDDING_DIGITS = 1e4

function row(conversation: BatchConversation, turn: number, found: TurnFingerprint, us: number): string {
  return JSON.stringify({
    id: conversation.id,
    ...(conversation.single ? {} : { turn }),
    topics: found.topics.map(([name, probability]) => [name, roundedDown(probability)]),
    shift: roundedDown(found.shift),
    intent: [found.intent[0], roundedDown(found.intent[1])],
    in_scope: found.inScope,
    entities: found.entities.map(({ type, start, end }) => [type, start, end]),
    complexity: roundedDown(found.complexity),
    expected_output_tokens: Math.round(found.expectedOutputTokens),
    embedding: Array.from(found.embedding, (value) => Math.round(value * EMBEDDING_DIGITS) / EMBEDDING_DIGITS),
    us,
  })
}

/** Down, so that probabilities never add up to more than 1. */
const roundedDown = (value: number): number => Math.floor(value * 1e6) / 1e6

function parsed(line: string): BatchConversation | null {
  try {
    const value: unknown = JSON.parse(line)
    return isObject(value) ? conversationOf(value) : null
  } catch (error) {
    if (error instanceof SyntaxError) return null
    throw error
  }
}

/** Gathers lines, since one write a line would cost more than the fingerprint. */
class LineWriter {
  readonly #terminal: Terminal
  #lines: string[] = []
  #characters = 0

  constructor(terminal: Terminal) {
    this.#terminal = terminal
  }

  write(line: string): void {
    this.#lines.push(line)
    this.#characters += line.length
    if (this.#characters > 1 << 20) this.#flush()
  }

  close(): void {
    this.#flush()
  }

  #flush(): void {
    if (this.#lines.length === 0) return
    this.#terminal.print(this.#lines.join('\n'))
    this.#lines = []
    this.#characters = 0
  }
}
