/** The scripts against the real engine: what `npm start` and every other real-engine test stands on. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { loadScript, scriptPath } from './scripts.ts'

type Engine = { readonly url: string; readonly pid: number; readonly identity: string; readonly port: number }
type FleetRecord = { readonly engines: readonly Engine[]; readonly ports: readonly number[] }
type Fleet = {
  readRecord(dir: string): FleetRecord
  livingEngines(record: FleetRecord): Promise<readonly Engine[]>
}
const { readRecord, livingEngines } = await loadScript<Fleet>('engine/fleet.mjs')
const { isSameProcess } = await loadScript<{ isSameProcess(recorded: Engine): boolean }>('machine/process.mjs')

const skip = process.env['HOMING_NO_ENGINE'] ? `no engine here: ${process.env['HOMING_NO_ENGINE']}` : false
const dir = mkdtempSync(join(tmpdir(), 'homing-engines-'))
const engines = (...args: readonly string[]) =>
  spawnSync(process.execPath, [scriptPath('engines.mjs'), ...args, '--dir', dir], { encoding: 'utf8' })
const up = (...args: readonly string[]): Engine => {
  const { status, stdout, stderr } = engines('up', '--n', '1', '--slots', '1', '--context', '2048', ...args)
  assert.equal(status, 0, stderr)
  return JSON.parse(stdout) as Engine
}

before(() => writeFileSync(join(dir, 'fleet.json'), 'damaged'))
after(() => {
  if (!skip) engines('down')
  rmSync(dir, { recursive: true })
})

test('a damaged record holds no fleet', () => assert.deepEqual(readRecord(dir).engines, []))

test('a fleet starts, reports cached tokens, is adopted only by its identity, and ends', { skip }, async () => {
  const engine = up()
  const record = readRecord(dir)
  assert.deepEqual((await livingEngines(record)).map(({ url }) => url), [engine.url])
  const strangers = { ...record, engines: record.engines.map((entry) => ({ ...entry, identity: `${entry.identity}0` })) }
  assert.deepEqual(await livingEngines(strangers), [])

  const ask = async (): Promise<number> => {
    const messages = [{ role: 'user', content: 'Name the capital of France.' }]
    const body = JSON.stringify({ messages, max_tokens: 2, temperature: 0 })
    const answer = await fetch(`${engine.url}/v1/chat/completions`, { method: 'POST', body })
    const { usage } = (await answer.json()) as { usage: { prompt_tokens: number; prompt_tokens_details: { cached_tokens: number } } }
    return usage.prompt_tokens_details.cached_tokens
  }
  assert.equal(await ask(), 0)
  assert.ok((await ask()) > 0)
  assert.equal(engines('up').status, 1, 'a second fleet in the same folder is refused')

  assert.equal(engines('down').status, 0)
  assert.ok(record.engines.every((entry) => !isSameProcess(entry)))
  assert.deepEqual(await livingEngines(readRecord(dir)), [])
})

test('the same ports are taken again, and the engine ends with the process it is tied to', { skip }, async () => {
  const ports = readRecord(dir).ports
  const holder = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
  const engine = up('--stop-with', String(holder.pid))
  assert.deepEqual([engine.port], ports)
  const entry = readRecord(dir).engines[0]
  assert.ok(entry && isSameProcess(entry))
  holder.kill('SIGKILL')
  while (isSameProcess(entry)) await new Promise((resolve) => setTimeout(resolve, 50))
})

test('wrong use says what is right', () => {
  for (const args of [['fly'], ['up', '--n', 'many'], ['up', '--wings', '2']]) assert.equal(engines(...args).status, 2)
  assert.equal(readFileSync(join(dir, 'fleet.json'), 'utf8').length > 0, true)
})
