// npm run demo: six talks of four turns, two at a time, through Homing and then through a plain round robin.
//
// Homing gets only the new question and the id of the last answer. The round robin asks the same engines in turn, with the
// whole history, past Homing. Both halves use the same questions in the same order, with prompts that no cache has seen.
// Uses the gateway of a running `npm start` (this folder's homing-data), else runs one for the duration.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { join, resolve } from 'node:path'

import { askEngine, askHoming } from './demo/ask.mjs'
import { heading, line, sideBySide, summary } from './demo/report.mjs'
import { conversations, rounds, seededRandom } from './demo/script.mjs'
import { readRecord } from './engine/fleet.mjs'
import { askModels } from './engine/probe.mjs'
import { ROOT } from './ensure-built.mjs'
import { isSameProcess } from './machine/process.mjs'

const AT_ONCE = 2
const ORDER_SEED = 4
const say = text => process.stderr.write(`homing: ${text}\n`)
const print = text => process.stdout.write(`${text}\n`)
const dir = resolve('homing-data')

function runningGateway() {
  const { gateway } = readRecord(dir)
  return gateway !== null && isSameProcess(gateway) ? gateway : null
}

/** Starts one with npm start's own script; its output goes to stderr. */
async function startGateway() {
  say('no gateway of npm start runs here: starting one for the demo ...')
  const child = spawn(process.execPath, [join(ROOT, 'scripts', 'start.mjs'), '--listen', '127.0.0.1:0', '--log-level', 'warn'],
    { stdio: ['ignore', 'pipe', 'inherit'], detached: true })
  child.stdout.resume()
  let ended = null
  const end = new Promise(done => child.once('exit', code => done((ended = code ?? 1))))
  const stop = async () => {
    if (ended === null) child.kill('SIGTERM')
    await end
  }
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(name, () => void stop().then(() => process.exit(130)))
  while (runningGateway() === null || (await fetch(`${runningGateway().url}/readyz`).catch(() => null))?.status !== 200) {
    if (ended !== null) throw new Error('the gateway did not start: see above')
    await new Promise(done => setTimeout(done, 200))
  }
  return { gateway: runningGateway(), stop }
}

/** Runs all talks in the given order, `AT_ONCE` at a time; `ask(talk, turn)` gives one turn. */
async function runTalks(talks, order, ask) {
  const turns = []
  print(heading())
  for (const [turn, talkOrder] of order.entries()) {
    for (let i = 0; i < talkOrder.length; i += AT_ONCE) {
      const pair = talkOrder.slice(i, i + AT_ONCE)
      const asked = await Promise.all(pair.map(async index => ({ talk: talks[index].name, turn: turn + 1, asked: await ask(index, turn) })))
      for (const entry of asked) {
        turns.push(entry)
        print(line(entry))
      }
    }
  }
  return summary(turns)
}

function throughHoming(gateway, model, talks, order) {
  const previous = talks.map(() => null)
  return runTalks(talks, order, async (index, turn) => {
    const { system, questions } = talks[index]
    const asked = await askHoming({ url: gateway.url, model, system, question: questions[turn], previousId: previous[index] })
    previous[index] = asked.id
    return asked
  })
}

function throughRoundRobin(gateway, model, talks, order) {
  const histories = talks.map(({ system }) => [{ role: 'system', content: system }])
  let next = 0
  return runTalks(talks, order, async (index, turn) => {
    const messages = histories[index]
    messages.push({ role: 'user', content: talks[index].questions[turn] })
    const url = gateway.backends[next++ % gateway.backends.length].replace(/\/v1$/, '')
    const asked = await askEngine({ url, model, messages })
    messages.push({ role: 'assistant', content: asked.text })
    return asked
  })
}

async function main() {
  const running = runningGateway()
  const { gateway, stop } = running === null ? await startGateway() : { gateway: running, stop: async () => {} }
  try {
    const model = (await askModels(gateway.url, 5000))?.[0]
    if (model === undefined) throw new Error(`${gateway.url} offers no model`)
    const nonce = () => randomBytes(6).toString('hex')
    const first = conversations(nonce())
    const order = rounds(first.length, first[0].questions.length, seededRandom(ORDER_SEED))
    print(`\n${first.length} talks of ${order.length} turns, ${AT_ONCE} at a time, model ${model}, ${gateway.backends.length} backends: ${gateway.fleet}.`)
    print(`\nThrough Homing (${gateway.url}), each turn by previous_response_id:\n`)
    const homing = await throughHoming(gateway, model, first, order)
    print('\nThe same talks with new prompts, round robin over the same engines, whole history each time:\n')
    const roundRobin = await throughRoundRobin(gateway, model, conversations(nonce()), order)
    print(`\n${sideBySide(homing, roundRobin)}\n`)
    if (gateway.backends.length === 1) print('With a single backend both ways are the same: every turn is at home.\n')
  } finally {
    await stop()
  }
}

try {
  await main()
} catch (error) {
  say(error.message)
  process.exitCode = 1
}
