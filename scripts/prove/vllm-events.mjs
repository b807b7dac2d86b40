// Proof against the real publisher: what KV events say of a cache, compared with `cached_tokens` of vLLM's own answers.
//
//   npm run build && node scripts/prove/vllm-events.mjs [--dir .engines/vllm] [--url URL --events tcp://.. --replay tcp://..]
//        [--fixture FILE]     writes the frames and questions of the first part, for the tests
//        [--record FILE]      writes what was found
//
// 1. Directly: sessions until blocks are evicted. Before each question its tokens are looked up among the blocks that events
//    have told of; the answer says what was really cached.
// 2. Through the gateway, with a second client that asks the engine past it: expected cached tokens of the receipts, with
//    events and by history alone, against the answers'.
import { writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

import { askDirectly, askThroughGateway, errorOf, percent, post, say, table } from './kv-proof.mjs'
import { installVllm, startVllm } from './vllm.mjs'

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
const BLOCK_TOKENS = 32
const ORDER = [0, 1, 2, 0, 3, 4, 5, 0, 6, 7, 1, 5, 0, 2, 7, 3]

async function main() {
  const option = { type: 'string' }
  const { values } = parseArgs({ options: { dir: option, url: option, events: option, replay: option, fixture: option, record: option, port: option } })
  const directory = resolve(values.dir ?? `${ROOT}/.engines/vllm`)
  const started = values.url === undefined
    ? await startVllm({ directory, root: ROOT, model: installVllm(directory, ROOT, say), port: Number(values.port ?? 9101), say })
    : { url: values.url, endpoint: values.events, replay: values.replay, stop: async () => undefined }
  const engine = {
    ...started, name: 'vllm', blockTokens: BLOCK_TOKENS,
    version: async () => (await (await fetch(`${started.url}/version`)).json()).version,
    clear: () => post(started.url, '/reset_prefix_cache', {}),
  }
  try {
    say('asking vLLM directly ...')
    const direct = await askDirectly(engine, ORDER)
    if (values.fixture !== undefined) writeFileSync(values.fixture, `${direct.lines.map(line => JSON.stringify(line)).join('\n')}\n`)
    say('through the gateway, with events ...')
    const exact = await askThroughGateway(engine, {})
    say('through the gateway, by history ...')
    const history = await askThroughGateway(engine, null)
    const text = [
      `# KV events of a real engine, ${new Date().toISOString().slice(0, 10)}`, '',
      `Command: \`node scripts/prove/vllm-events.mjs\`. ${direct.lines[0].engine} on the CPU, SmolLM2-135M, 70 blocks of ${BLOCK_TOKENS} tokens.`, '',
      '## Asked directly', '',
      `Tokens found among the blocks that events told of, before each question, against the answer's \`cached_tokens\`.`,
      `Mean absolute error ${percent(errorOf(direct.rows))} (without the first question after a clear, of which vLLM tells with its next step only: ${percent(errorOf(direct.rows.filter(({ name }) => name !== 'cleared, first question')))}) of prompt tokens; ${direct.counts.stored} blocks stored, ${direct.counts.removed} removed.`, '',
      table(direct.rows), '', '## Through the gateway', '',
      'Expected cached tokens of the receipts; five foreign sessions go to the engine directly before turn 3.',
      `Mean absolute error with events ${percent(errorOf(exact.rows))}, by history ${percent(errorOf(history.rows))} of prompt tokens. State at the end: ${exact.events.state}.`, '',
      'With events:', '', table(exact.rows), '', 'By history:', '', table(history.rows), '',
    ].join('\n')
    process.stdout.write(text)
    if (values.record !== undefined) writeFileSync(values.record, text)
  } finally {
    await engine.stop()
  }
}

await main()
process.exit(0)
