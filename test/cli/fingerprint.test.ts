import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { COMMANDS } from '../../src/cli/commands.ts'
import { run } from '../../src/cli/run.ts'

type Ended = { readonly code: number; readonly out: string; readonly told: string }
type Line = { id: unknown; turn?: number; topics: [string, number][]; shift: number; intent: [string, number]; in_scope: number; entities: [string, number, number][]; complexity: number; expected_output_tokens: number; embedding: number[]; us: number }

async function homing(...argv: string[]): Promise<Ended> {
  const [out, told]: [string[], string[]] = [[], []]
  const code = await run(argv, COMMANDS, { env: {}, version: 'test', print: (text) => void out.push(text), complain: (text) => void told.push(text) })
  return { code, out: out.join('\n'), told: told.join('\n') }
}

function folderOf(t: TestContext, files: Readonly<Record<string, readonly object[] | string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'homing-cli-'))
  t.after(() => rmSync(folder, { recursive: true }))
  for (const [name, rows] of Object.entries(files)) {
    writeFileSync(join(folder, name), typeof rows === 'string' ? rows : rows.map((row) => JSON.stringify(row)).join('\n'))
  }
  return folder
}
const parsed = (out: string): Line[] => out.split('\n').map((line) => JSON.parse(line) as Line)

test('messages, dialogues and logged requests give one line a message or turn, in order, and nothing else', async (t) => {
  const folder = folderOf(t, { 'in.jsonl': [
    { id: 'one', text: '😀 mail ann@example.com' },
    { id: 2, turns: [{ speaker: 'USER', text: 'book a table' }, { speaker: 'SYSTEM', text: '' }, { speaker: 'USER', text: 'for two' }] },
    { id: 'req', model: 'm', input: [{ role: 'user', content: 'hi' }, { type: 'function_call', name: 'f', arguments: '{}' }] },
    { id: 'chat', messages: [{ role: 'system', content: 'be kind' }, { role: 'user', content: [{ type: 'text', text: 'hello' }] }] },
    { id: 'empty', text: '' },
  ] })
  const { code, out, told } = await homing('fingerprint', '--input', join(folder, 'in.jsonl'))
  assert.deepEqual([code, told], [0, ''])
  const lines = parsed(out)
  assert.deepEqual(lines.map(({ id, turn }) => [id, turn]), [
    ['one', undefined], [2, 0], [2, 1], [2, 2], ['req', 0], ['req', 1], ['chat', 0], ['chat', 1], ['empty', undefined],
  ])
  assert.deepEqual(lines[0]!.entities, [['email', 8, 23]], 'offsets count UTF-16 units')
  for (const line of lines) {
    assert.deepEqual(Object.keys(line).filter((key) => key !== 'turn'), ['id', 'topics', 'shift', 'intent', 'in_scope', 'entities', 'complexity', 'expected_output_tokens', 'embedding', 'us'])
    const total = line.topics.reduce((sum, [, value]) => sum + value, 0)
    assert.ok(total <= 1 && total > 0.5, String(total))
    assert.deepEqual([...line.topics].sort((left, right) => right[1] - left[1]), line.topics, 'most probable first')
    assert.equal(line.embedding.length, 256)
    assert.ok(line.us >= 0)
  }
})

test('a taxonomy is trained, told about, and then its labels are the only ones', async (t) => {
  const text = (label: string, words: string[]) => words.map((word) => ({ text: `please help with my ${word}`, label }))
  const folder = folderOf(t, {
    'train.jsonl': [...text('pets', ['dog', 'cat', 'hamster', 'parrot', 'kitten', 'puppy']), ...text('cars', ['engine', 'brakes', 'tyres', 'gearbox', 'clutch', 'bumper'])],
    'in.jsonl': [{ id: 'a', text: 'my puppy and the cat' }],
  })
  const out = join(folder, 'own')
  const trained = await homing('taxonomy', 'train', '--topics', join(folder, 'train.jsonl'), '--out', out)
  assert.equal(trained.code, 0, trained.told)
  assert.match(trained.out, /2 labels from 12 examples.*\n.*held out: 2 examples, accuracy [01]\.\d+, calibration error/)
  const [line] = parsed((await homing('fingerprint', '--input', join(folder, 'in.jsonl'), '--taxonomy', out)).out)
  assert.deepEqual(line!.topics.map(([name]) => name), ['pets', 'cars'])
  const twice = await homing('fingerprint', '--input', join(folder, 'in.jsonl'), '--taxonomy', out, '--taxonomy', out)
  assert.deepEqual([twice.code, /two taxonomies of topics/.test(twice.told)], [2, true])
})

test('bad input is refused by line and reason, with nothing on standard output', async (t) => {
  const folder = folderOf(t, { 'bad.jsonl': '{"id":1,"text":"x"}\n{"id":2}', 'few.jsonl': [{ text: 'a', label: 'b' }] })
  const bad = await homing('fingerprint', '--input', join(folder, 'bad.jsonl'))
  assert.equal(bad.code, 1)
  assert.match(bad.told, /bad\.jsonl: line 2 is not/)
  const few = await homing('taxonomy', 'train', '--intents', join(folder, 'few.jsonl'), '--out', folder)
  assert.deepEqual([few.code, few.out], [1, ''])
  assert.match(few.told, /few\.jsonl: has 1 labelled examples/)
  assert.equal((await homing('fingerprint', '--input', join(folder, 'none.jsonl'))).code, 1)
  assert.equal((await homing('fingerprint')).code, 2)
  assert.equal((await homing('taxonomy', 'train', '--out', folder)).code, 2)
  assert.equal((await homing('taxonomy', 'learn', '--topics', 'x', '--out', folder)).code, 2)
  assert.equal((await homing('fingerprint', '--input', join(folder, 'few.jsonl'), '--taxonomy', folder)).code, 1)
})

test('labels by example are tried from a configuration before a gateway uses them, and check tells what was read', async (t) => {
  const folder = folderOf(t, {
    'homing.yaml': `fingerprint:
  topics: { billing: ["Why was I charged twice?", "I need an invoice for March", "Please refund the fee on my statement"] }
  intents: { escalate: ["let me talk to a human", "I want to speak with a real person"] }
  embeddings: { url: "http://embeddings.internal:8080/v1", model: bge-small }
`,
    'bad.yaml': 'fingerprint: { topics: { billing: ["one"] } }',
    'off.yaml': 'fingerprint: { enabled: false }',
    'in.jsonl': [{ id: 'a', text: 'there are two charges on my invoice this month' }, { id: 'b', text: 'can I speak with a real person?' }],
  })
  const fingerprint = (file: string): Promise<Ended> =>
    homing('fingerprint', '--input', join(folder, 'in.jsonl'), '--config', join(folder, file))
  const tried = await fingerprint('homing.yaml')
  assert.deepEqual([tried.code, tried.told], [0, ''])
  const [bill, human] = parsed(tried.out)
  assert.equal(bill!.topics[0]![0], 'billing')
  assert.equal(human!.intent[0], 'escalate')
  assert.equal(bill!.embedding.length, 256, 'no remote model is asked')
  const checked = await homing('check', join(folder, 'homing.yaml'))
  assert.match(checked.out, /topics by example, with their sentences: billing \(3\)\n.*intents by example.*escalate \(2\)/)
  assert.match(checked.out, /embeddings of conversations by bge-small at http:\/\/embeddings\.internal:8080: their texts are sent there/)
  const bad = await fingerprint('bad.yaml')
  assert.deepEqual([bad.code, bad.out], [2, ''])
  assert.match(bad.told, /fingerprint\.topics\.billing: has 1 sentences/)
  assert.match((await fingerprint('off.yaml')).told, /switched off/)
})
