import { mkdirSync, readFileSync } from 'node:fs'
import { seededRandom } from '../../sim/random.ts'
import type { HeldOutReport } from '../fingerprint/train-taxonomy.ts'
import { textOption, UsageError, type Command } from './command.ts'
import { fingerprintAssetPath } from '../fingerprint-asset.ts'

export const taxonomy: Command = {
  name: 'taxonomy',
  summary: 'train own topics or intents from labelled lines',
  description:
    'Learns topics or intents from FILE, one JSON object a line: {"text","label"}, or whole dialogues\n' +
    '{"turns":[{"speaker":"USER"|"SYSTEM","text","label"?}]}, which also teach how topics change within a conversation.\n' +
    'Writes taxonomy.homing into DIR and prints accuracy and calibration on held-out examples. 5 to 100,000 examples, two\n' +
    'different ones a label at least. Runs in seconds, without network.',
  positionals: ['train'],
  options: {
    topics: { type: 'string', value: 'FILE', help: 'labelled lines of topics' },
    intents: { type: 'string', value: 'FILE', help: 'labelled lines of intents' },
    out: { type: 'string', value: 'DIR', help: 'folder to write, made where it is missing' },
    'out-of-scope': { type: 'string', value: 'LABEL', help: 'the label that means none of these (default oos)' },
  },
  async run(input, terminal) {
    if (input.positionals[0] !== 'train') throw new UsageError(`what is '${input.positionals[0]}'? The action is train`)
    const topics = textOption(input, 'topics')
    const intents = textOption(input, 'intents')
    const out = textOption(input, 'out')
    const path = topics ?? intents
    if (path === undefined || (topics !== undefined && intents !== undefined)) {
      throw new UsageError('needs one of --topics FILE and --intents FILE')
    }
    if (out === undefined) throw new UsageError('needs --out DIR')
    const { loadFingerprintModel } = await import('../fingerprint/fingerprint-model.ts')
    const { readTrainingLines } = await import('../fingerprint/training-lines.ts')
    const { trainTaxonomy } = await import('../fingerprint/train-taxonomy.ts')
    const outOfScope = textOption(input, 'out-of-scope') ?? 'oos'
    const set = readTrainingLines(path, readFileSync(path, 'utf8'), outOfScope)
    const model = loadFingerprintModel(fingerprintAssetPath())
    mkdirSync(out, { recursive: true })
    const started = performance.now()
    const trained = trainTaxonomy(set, {
      kind: topics === undefined ? 'intents' : 'topics',
      outOfScope,
      reader: model.reader,
      random: seededRandom,
    })
    const bytes = trained.taxonomy.save(out, { table: model.table, examples: trained.examples })
    const seconds = ((performance.now() - started) / 1000).toFixed(1)
    const { length } = trained.taxonomy.labels
    terminal.print(`${out}: ${length} labels from ${trained.examples} examples in ${seconds} s, ${bytes} bytes`)
    terminal.print(told(trained.heldOut))
    return 0
  },
}

function told(heldOut: HeldOutReport | null): string {
  if (heldOut === null) return 'held out: nothing, a label needs five examples for that; accuracy is not known'
  const lines = [
    `held out: ${heldOut.examples} examples`,
    `accuracy ${heldOut.accuracy.toFixed(3)}`,
    `calibration error ${heldOut.calibrationError.toFixed(3)}`,
  ]
  if (heldOut.outOfScopeArea !== null) lines.push(`out of scope: area under the curve ${heldOut.outOfScopeArea.toFixed(3)}`)
  if (heldOut.shiftF1 !== null) lines.push(`topic shifts: F1 ${heldOut.shiftF1.toFixed(3)}`)
  return lines.join(', ')
}
