// Proof against the real publisher: what KV events say of a cache, compared with `cached_tokens` of SGLang's own answers.
//
//   npm run build && node scripts/prove/sglang-events.mjs [--dir .engines/sglang] [--url URL --events tcp://.. --replay tcp://..]
//        [--page 16]          tokens of a page; SGLang's default is 1
//        [--fixture FILE]     writes the frames and questions of the first part, for the tests
//        [--record FILE]      writes what was found
//
// 1. Directly: sessions until pages are evicted. Before each question its tokens are looked up among the pages that events
//    have told of; the answer says what was really cached.
// 2. Through the gateway, with a second client that asks the engine past it: expected cached tokens of the receipts against
//    the answers', with the engine's own tokens (`tokenize: auto`), with those of the pages it stored (`observe`), under
//    a salt of each tenant, and by history alone.
import { writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

import { askAtOnce, askDirectly, askThroughGateway, errorOf, percent, post, say, table } from './kv-proof.mjs'
import { installSglang, startSglang } from './sglang.mjs'

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
const CACHE_TOKENS = 1600
const ORDER = [0, 1, 2, 0, 3, 4, 0, 5, 1, 0]

async function main() {
  const option = { type: 'string' }
  const { values } = parseArgs({
    options: { dir: option, url: option, events: option, replay: option, fixture: option, record: option, port: option, page: { ...option, default: '1' } },
  })
  const directory = resolve(values.dir ?? `${ROOT}/.engines/sglang`)
  const pageTokens = Number(values.page)
  const started = values.url === undefined
    ? await startSglang({
      directory, root: ROOT, model: installSglang(directory, ROOT, say), port: Number(values.port ?? 9301), pageTokens, cacheTokens: CACHE_TOKENS, say,
    })
    : { url: values.url, endpoint: values.events, replay: values.replay, stop: async () => undefined }
  const engine = {
    ...started, name: 'sglang', blockTokens: pageTokens,
    version: async () => (await (await fetch(`${started.url}/server_info`)).json()).version,
    clear: () => post(started.url, '/flush_cache', {}),
  }
  try {
    say('asking SGLang directly ...')
    const direct = await askDirectly(engine, ORDER)
    if (values.fixture !== undefined) writeFileSync(values.fixture, `${direct.lines.map(line => JSON.stringify(line)).join('\n')}\n`)
    const gateway = {}
    const ways = [
      ['auto', { tokenize: 'auto' }], ['observe', { tokenize: 'observe' }], ['salted', { tokenize: 'auto' }, { hints: { cache_salt: 'a secret' } }], ['history', null],
    ]
    for (const [way, kvEvents, more] of ways) {
      say(`through the gateway, ${way} ...`)
      gateway[way] = await askThroughGateway(engine, kvEvents, more)
    }
    const { auto, observe, salted, history } = gateway
    say('three at once ...')
    const atOnce = { auto: await askAtOnce(engine, { tokenize: 'auto' }), observe: await askAtOnce(engine, { tokenize: 'observe' }) }
    const known = ({ exactness }) => exactness.filter(line => /tokens_(known|failed)/.test(line)).map(line => line.replace(/.*tokens_(\w+).* (\d+)/, '$2 $1')).join(', ')
    const text = [
      `# KV events of a real SGLang, ${new Date().toISOString().slice(0, 10)}`, '',
      `Command: \`node scripts/prove/sglang-events.mjs${values.page === '1' ? '' : ` --page ${values.page}`}\`. ${direct.lines[0].engine} on the CPU, SmolLM2-135M, ${CACHE_TOKENS} tokens of cache in pages of ${pageTokens}.`, '',
      '## Asked directly', '',
      'Tokens found among the pages that events told of, before each question, against the answer\'s `cached_tokens`. Prefixes are',
      `known at every 16th token: error of what can be known ${percent(errorOf(direct.rows.map(row => ({ ...row, actual: row.known }))))} of prompt tokens, of all ${percent(errorOf(direct.rows))}; ${direct.counts.stored} pages stored, ${direct.counts.removed} removed, ${direct.counts.orphans} without a parent, ${direct.counts.unknownRemoved} removed unknown.`, '',
      table(direct.rows), '', '## Through the gateway', '',
      'Expected cached tokens of the receipts; five foreign sessions go to the engine directly before turn 3.',
      `Mean absolute error with \`tokenize: auto\` ${percent(errorOf(auto.rows))}, with \`observe\` ${percent(errorOf(observe.rows))}, with \`hints.cache_salt\` (and \`auto\`) ${percent(errorOf(salted.rows))}, by history ${percent(errorOf(history.rows))} of prompt tokens.`,
      `State at the end: ${auto.events.state}, ${observe.events.state}, ${salted.events.state}.`, '',
      '`tokenize: auto`:', '', table(auto.rows), '', '`tokenize: observe`:', '', table(observe.rows), '', 'With `hints.cache_salt`:', '', table(salted.rows), '', 'By history:', '', table(history.rows), '',
      '## Three conversations at once', '',
      'Their turns are sent together, so the pages of one are stored among those of the others.',
      `Mean absolute error with \`auto\` ${percent(errorOf(atOnce.auto.rows))} (tokens of turns: ${known(atOnce.auto)}), with \`observe\` ${percent(errorOf(atOnce.observe.rows))} (${known(atOnce.observe)}). State at the end: ${atOnce.auto.events.state}, ${atOnce.observe.events.state}.`, '',
      '`tokenize: observe`:', '', table(atOnce.observe.rows), '',
    ].join('\n')
    process.stdout.write(text)
    for (const way of ['auto', 'observe', 'salted']) say(`${way}: engine ${gateway[way].engine}, ${JSON.stringify(gateway[way].events)}\n${gateway[way].exactness.join('\n')}`)
    if (values.record !== undefined) writeFileSync(values.record, text)
  } finally {
    await engine.stop()
  }
}

await main()
process.exit(0)
