// The engines and the gateway in front of them, as an operator would start them: one engine a model, `homing serve` with a file
// that names the backends and one group, nothing else. All processes end with the one that started them.
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { startEngines, stopEngines } from '../engine/fleet.mjs'
import { ensureEngine } from '../engine/install.mjs'
import { ROOT } from '../ensure-built.mjs'
import { endProcesses } from '../machine/process.mjs'
import { MODELS } from './specialists.mjs'

const MAIN = join(ROOT, 'dist/src/main.js')
const ANSWER_WITHIN_MS = 120_000
const START_WITHIN_MS = 30_000
export const GROUP = 'auto'
const pause = ms => new Promise(resolve => setTimeout(resolve, ms))

/** @param {{ say: (text: string) => void, signal: AbortSignal }} options */
export async function startSpecialists({ say, signal }) {
  const dir = mkdtempSync(join(tmpdir(), 'homing-specialists-'))
  const options = { dir, slots: 2, contextTokens: 4096, basePort: 0, engine: await ensureEngine(say, { signal }), stopWith: process.pid, signal }
  let engines = []
  let gateway = null
  const start = async name => {
    const { parameters } = MODELS.find(model => model.name === name)
    engines = await startEngines({ ...options, count: engines.length + 1, keep: engines, alias: name, parameters })
    return engines.at(-1)
  }
  const stop = async () => {
    await gateway?.stop()
    await stopEngines(dir)
    rmSync(dir, { recursive: true, force: true })
  }
  try {
    for (const { name } of MODELS) await start(name)
    gateway = await startGateway(dir, engines, signal)
  } catch (error) {
    await stop()
    throw error
  }
  const engineOf = name => engines.find(({ model }) => model === name)
  return {
    url: gateway.url,
    stop,
    engineOf,
    /** SIGKILL: nothing is finished. */
    kill: async name => {
      const engine = engineOf(name)
      process.kill(engine.pid, 'SIGKILL')
      await endProcesses([engine])
      engines = engines.filter(other => other !== engine)
    },
    /** On the port it had. */
    restart: start,
    /** Commands of an operator. */
    explain: id => homing('explain', id, '--url', gateway.url),
    expertise: () => homing('expertise', '--url', gateway.url),
    evaluate: () => homing('evaluate', '--log', join(dir, 'store', 'choices')),
  }
}

const homing = (...args) => execFileSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' }).trimEnd()

async function startGateway(dir, engines, signal) {
  const file = join(dir, 'homing.yaml')
  writeFileSync(file, configuration(engines))
  const args = [MAIN, 'serve', '--config', file, '--listen', '127.0.0.1:0', '--store', join(dir, 'store'), '--log-level', 'error']
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise(resolve => child.once('exit', resolve))
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
    await ended
  }
  let said = ''
  child.stdout.on('data', data => (said += String(data)))
  const deadline = Date.now() + START_WITHIN_MS
  try {
    for (;;) {
      const url = /serves (http:\/\/[\d.:]+)/.exec(said)?.[1]
      if (url !== undefined && (await fetch(`${url}/readyz`, { signal })).status === 200) return { url, stop }
      if (child.exitCode !== null || Date.now() > deadline) throw new Error(`the gateway did not start: ${said}`)
      await pause(100)
    }
  } catch (error) {
    await stop()
    throw error
  }
}

const configuration = engines => [
  'backends:', ...engines.map(({ url }) => `  - url: ${url}`),
  'model_groups:', `  ${GROUP}: [${MODELS.map(({ name }) => name).join(', ')}]`, '',
].join('\n')

export async function post(url, body, signal) {
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
  const response = await fetch(url, { ...init, signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_WITHIN_MS)]) })
  const text = await response.text()
  if (response.status !== 200) throw new Error(`${url} answered ${response.status}: ${text.slice(0, 300)}`)
  return { headers: response.headers, body: JSON.parse(text) }
}

export async function get(url, signal) {
  const response = await fetch(url, { signal })
  if (response.status !== 200) throw new Error(`${url} answered ${response.status}: ${(await response.text()).slice(0, 300)}`)
  return response.headers.get('content-type')?.includes('json') ? response.json() : response.text()
}

/** By Chat. `model` is what the answer's header says; an engine says nothing there. */
export async function askChat(url, model, { question, maxTokens }, signal) {
  const { headers, body } = await post(`${url}/v1/chat/completions`, { model, temperature: 0, max_tokens: maxTokens, messages: [{ role: 'user', content: question }] }, signal)
  return { id: body.id, text: body.choices[0].message.content ?? '', model: headers.get('x-homing-model'), named: body.model }
}

export async function askResponses(url, model, { question, maxTokens }, signal) {
  const { headers, body } = await post(`${url}/v1/responses`, { model, temperature: 0, max_output_tokens: maxTokens, input: question }, signal)
  const text = body.output.flatMap(item => (item.content ?? []).map(part => part.text ?? '')).join('')
  return { id: body.id, text, model: headers.get('x-homing-model'), named: body.model }
}
