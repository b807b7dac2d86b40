// Learned routing on a real fleet: four models that are each good at something, tasks with graders, outcomes posted to the gateway.
//
//   node scripts/prove/specialisation.mjs [--requests 500] [--held-out 24] [--seed 1] [--record FILE]
//
// 1. Each model alone on held-out tasks, asked past the gateway: who is good at what, the best single one, perfect routing.
// 2. Tasks of mixed kinds are asked of `auto`, by Chat and by Responses in turn; each answer is graded and its grade posted.
// 3. The held-out tasks are asked of `auto`; nothing is posted.
// 4. One specialist is killed while it answers, and started again.
//
// Takes 5 to 10 minutes and 1.5 GB of memory on two shared cores; every process at nice 10, one thread an engine. Shares of right
// answers only, no times: the machine does not matter.
import { mkdirSync, writeFileSync } from 'node:fs'
import { setPriority } from 'node:os'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'

import { ensureBuilt } from '../ensure-built.mjs'
import { askChat, askResponses, get, GROUP, post, startSpecialists } from './specialist-fleet.mjs'
import { byKind, mean, percent, recordOf } from './specialist-record.mjs'
import { heldOutTasks, KIND_NAMES, seeded, stream, taskOf } from './specialist-tasks.mjs'
import { MODELS } from './specialists.mjs'

/** Which one is killed, and what it is there for. */
const LOST = { model: 'smollm2-json', kind: 'extraction' }
const NAMES = MODELS.map(({ name }) => name)
const say = text => process.stderr.write(`specialisation: ${text}\n`)
const pause = ms => new Promise(resolve => setTimeout(resolve, ms))

/** Share right of each model and kind, past the gateway. The engines work at the same time. */
async function alone(fleet, tasks, signal) {
  const shares = await Promise.all(NAMES.map(async name => {
    const { url } = fleet.engineOf(name)
    const rows = []
    for (const task of tasks) rows.push({ kind: task.kind, right: task.grade((await askChat(url, name, task, signal)).text) })
    return [name, byKind(rows).map(of => mean(of.map(({ right }) => right)))]
  }))
  return Object.fromEntries(shares)
}

/** Asks `auto`; Chat and Responses in turn. */
async function askGroup({ fleet, signal }, task, at) {
  const { id, text, model, named } = await (at % 2 === 0 ? askChat : askResponses)(fleet.url, GROUP, task, signal)
  if (model === null || model !== named) throw new Error(`${id}: the header names ${model}, the answer ${named}`)
  return { id, kind: task.kind, model, right: task.grade(text) }
}

const grade = ({ fleet, signal }, { id, right }) => post(`${fleet.url}/homing/v1/outcomes`, { response_id: id, score: right, source: 'grader' }, signal)

async function learn(run, tasks) {
  const rows = []
  for (const [at, task] of tasks.entries()) {
    const row = await askGroup(run, task, at)
    await grade(run, row)
    rows.push(row)
    if (rows.length % 100 === 0) say(`${rows.length} outcomes: ${percent(mean(rows.slice(-100).map(({ right }) => right)))} of the last 100 right`)
  }
  return rows
}

async function frozen(run, tasks) {
  const rows = []
  for (const [at, task] of tasks.entries()) rows.push(await askGroup(run, task, at))
  return rows
}

/** Until one of its slots computes; at most 5 s, since `auto` may have sent everything elsewhere. */
async function untilBusy({ url }, signal) {
  const deadline = Date.now() + 5000
  while (Date.now() < deadline) {
    if ((await get(`${url}/slots`, signal)).some(slot => slot.is_processing)) return
    await pause(20)
  }
}

/** Kills the specialist while it has turns, goes on, and starts it again; a failed request would end the run. */
async function lose(run, random) {
  const { fleet, signal } = run
  const ask = async (count, at) => {
    const rows = []
    for (let i = 0; i < count; i++) {
      const row = await askGroup(run, taskOf(LOST.kind, random), at + i)
      await grade(run, row)
      rows.push(row)
    }
    return rows
  }
  const before = await ask(8, 0)
  // Settled, not all: a failure has to wait for its turn, or nobody catches it.
  const inFlight = Promise.allSettled([0, 1, 2, 3].map(at => askGroup(run, taskOf(LOST.kind, random), at)))
  await untilBusy(fleet.engineOf(LOST.model), signal)
  await fleet.kill(LOST.model)
  const hit = (await inFlight).map(({ value, reason }) => {
    if (value === undefined) throw reason
    return value
  })
  const receipts = await Promise.all(hit.map(({ id }) => get(`${fleet.url}/homing/v1/responses/${id}/decision`, signal)))
  const broken = receipts.flatMap(({ failovers }) => failovers ?? []).map(({ why }) => why)
  const without = await ask(16, 0)
  const receipt = await get(`${fleet.url}/homing/v1/responses/${without.at(-1).id}/decision`, signal)
  await fleet.restart(LOST.model)
  const { url } = fleet.engineOf(LOST.model)
  for (let tries = 0; ; tries++) {
    const { data } = await get(`${fleet.url}/homing/v1/backends`, signal)
    if (data.some(backend => backend.url === url && backend.healthy)) break
    if (tries > 100) throw new Error(`the backend ${url} was not taken into service again: ${JSON.stringify(data)}`)
    await pause(200)
  }
  return { before, hit, broken, without, receipt, after: await ask(16, 0) }
}

async function main() {
  const option = { type: 'string' }
  const { values } = parseArgs({ options: { requests: { ...option, default: '500' }, 'held-out': { ...option, default: '24' }, seed: { ...option, default: '1' }, record: option } })
  const [requests, heldOut, seed] = [values.requests, values['held-out'], values.seed].map(Number)
  for (const [name, value] of Object.entries({ requests, 'held-out': heldOut, seed })) {
    if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} needs a whole number above 0`)
  }
  setPriority(10)
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(name, () => stop.abort(new Error(`stopped by ${name}`)))
  await ensureBuilt()
  const fleet = await startSpecialists({ say, signal: stop.signal })
  try {
    const run = { fleet, signal: stop.signal }
    const tasks = heldOutTasks(heldOut, seeded(seed + 1))
    say(`each of ${NAMES.length} models alone on ${tasks.length} tasks ...`)
    const shares = await alone(fleet, tasks, stop.signal)
    for (const name of NAMES) say(`${name}: ${KIND_NAMES.map((kind, at) => `${kind} ${percent(shares[name][at])}`).join(', ')}`)
    say(`${requests} requests to '${GROUP}' ...`)
    const learned = await learn(run, stream(requests, seeded(seed)))
    say('held-out tasks ...')
    const held = await frozen(run, tasks)
    const explained = fleet.explain(held.at(-1).id)
    const believed = fleet.expertise().split('\n').filter(line => /quality|\(all\)/.test(line)).join('\n')
    const evaluated = fleet.evaluate()
    say(`${LOST.model} is killed ...`)
    const lost = await lose(run, seeded(seed + 2))
    const metrics = await get(`${fleet.url}/metrics`, stop.signal)
    const outcomes = metrics.split('\n').filter(line => line.startsWith('homing_outcomes_total')).map(line => line.replace('homing_outcomes_total', '').trim()).join(', ')
    const command = `node scripts/prove/specialisation.mjs${process.argv.slice(2).filter((_, at, all) => !all[at].startsWith('--record') && all[at - 1] !== '--record').map(text => ` ${text}`).join('')}`
    const text = recordOf({ command, shares, learned, held, lost: { ...LOST, ...lost }, explained, believed, evaluated, outcomes, heldOut })
    process.stdout.write(text)
    if (values.record !== undefined) {
      mkdirSync(dirname(values.record), { recursive: true })
      writeFileSync(values.record, text)
    }
  } finally {
    await fleet.stop()
  }
}

try {
  await main()
} catch (error) {
  say(error.message.startsWith('stopped by') ? error.message : error.stack)
  process.exitCode = 1
}
process.exit()
