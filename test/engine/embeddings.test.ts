/** A real embeddings server (llama.cpp with a small model) behind the gateway; skipped, loudly, where none can be had. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { eventually, harness } from '../gateway/support/gateway.ts'

const WHY_NOT = process.env['HOMING_NO_ENGINE']
const SCRIPT = join(process.cwd(), 'scripts', 'engines.mjs')

test('llama.cpp makes the embedding of a conversation', { timeout: 180_000, ...(WHY_NOT === undefined ? {} : { skip: `no real engine: ${WHY_NOT}` }) }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'homing-embeddings-'))
  t.after(async () => {
    const down = spawn(process.execPath, [SCRIPT, 'down', '--dir', folder], { stdio: 'inherit' })
    await new Promise((resolve) => down.once('exit', resolve))
    rmSync(folder, { recursive: true, force: true })
  })
  const up = spawn(process.execPath, [SCRIPT, 'up', '--dir', folder, '--n', '1', '--slots', '2', '--context', '2048', '--embeddings', '--stop-with', String(process.pid)], { stdio: ['ignore', 'pipe', 'inherit'] })
  let engine: { url: string; model: string } | undefined
  for await (const line of createInterface({ input: up.stdout })) engine = JSON.parse(line) as { url: string; model: string }
  assert.ok(engine !== undefined)

  const embeddings = { url: `${engine.url}/v1`, model: engine.model, deadline: '30s' }
  const gateway = await harness(t, { config: { fingerprint: { embeddings } } })
  const look = async (body: object) => (await gateway.json('/homing/v1/fingerprint', { model: 'm', ...body })).body
  const vector = async (input: string): Promise<number[]> => (await look({ input }))['embedding'] as number[]
  const first = await gateway.json('/v1/responses', { model: 'm', input: 'My cat refuses to eat her food.' })
  await eventually(async () => {
    const page = await (await fetch(`${gateway.url}/metrics`)).text()
    return /homing_state_size\{what="embeddings"\} 1/.test(page)
  })
  const found = await look({ previous_response_id: first.body['id'], input: 'What should I do?' })
  const embedding = found['embedding'] as number[]
  assert.equal(found['embedding_model'], engine.model)
  assert.equal(embedding.length, 576, 'SmolLM2 has 576 dimensions')
  assert.ok(Math.abs(Math.hypot(...embedding) - 1) < 1e-3)
  const same = await vector('My cat refuses to eat her food.')
  assert.ok(dot(same, await vector('My cat refuses to eat her food.')) > 0.999)
  const other = await vector('Derive the integral of x squared.')
  assert.ok(dot(same, other) < 0.999)
})

const dot = (left: readonly number[], right: readonly number[]): number => left.reduce((sum, value, at) => sum + value * right[at]!, 0)
