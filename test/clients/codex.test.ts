/**
 * Codex CLI, unmodified: `codex exec` makes a small edit in a folder, through a gateway whose engine plays the model.
 * Its package is no part of this project (167 MB, once, under .cache); HOMING_NO_CODEX=1 leaves it out.
 */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { isObject, type JsonObject } from '../../src/model/json.ts'
import { checkContract } from './contract.ts'
import { openGateway, type Gateway } from './house.ts'
import { cacheFolder, install, runProgram, skipLoudly } from './installed.ts'
import { messagesOf, MODEL, startScriptedEngine, type Script, type ScriptedEngine } from './scripted-engine.ts'

const VERSION = '0.169.0'
const prefix = cacheFolder(`codex-${VERSION}`)
const program = join(prefix, 'node_modules', '.bin', 'codex')

async function installCodex(): Promise<string | null> {
  if (process.env['HOMING_NO_CODEX']) return 'HOMING_NO_CODEX is set'
  if (!existsSync(program)) {
    const trouble = await install([['npm', 'install', '--no-audit', '--no-fund', '--no-save', '--prefix', prefix, `@openai/codex@${VERSION}`]])
    if (trouble !== null) return trouble
  }
  const { code, output } = await runProgram(program, ['--version'])
  return code === 0 ? null : `it does not run here: ${output.trim().split('\n').at(-1) ?? ''}`
}

type Run = { readonly output: string; readonly folder: string; readonly gateway: Gateway; readonly engine: ScriptedEngine }

/** `model` decides what Codex believes the model can do, and so which tools it offers. */
async function codexExec(model: string, script: Script, judge: (run: Run) => void): Promise<void> {
  const engine = await startScriptedEngine(script)
  const gateway = await openGateway([], `backends: [{ id: scripted, url: '${engine.url}', models: { ${model}: ${MODEL} } }]`)
  // Not under the system's folder for temporary files: Codex refuses to put its helpers there.
  const home = mkdtempSync(join(cacheFolder('codex-homes'), 'run-'))
  try {
    const folder = join(home, 'work')
    mkdirSync(folder)
    writeFileSync(join(folder, 'notes.txt'), 'one\ntwo\n')
    writeFileSync(join(home, 'config.toml'), [
      `model = "${model}"`, 'model_provider = "homing"', 'check_for_update_on_startup = false',
      '[analytics]', 'enabled = false',
      '[model_providers.homing]', 'name = "Homing"', `base_url = "${gateway.baseUrl}"`, 'wire_api = "responses"',
      'request_max_retries = 0', 'stream_max_retries = 0', '',
    ].join('\n'))
    const nowhere = 'http://127.0.0.1:9'
    const env = {
      PATH: process.env['PATH'], HOME: home, CODEX_HOME: home,
      // what is not the gateway cannot be reached
      HTTP_PROXY: nowhere, HTTPS_PROXY: nowhere, ALL_PROXY: nowhere, NO_PROXY: '127.0.0.1',
    }
    const args = ['exec', '--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox', '-C', folder, 'Replace two by three in notes.txt.']
    const { code, output } = await runProgram(program, args, { cwd: folder, env, limitMs: 60_000 })
    assert.equal(code, 0, output.slice(-4000))
    judge({ output, folder, gateway, engine })
    checkContract(gateway.exchanges)
  } finally {
    await gateway.close()
    await engine.close()
    rmSync(home, { recursive: true, force: true })
  }
}

const PATCH = '*** Begin Patch\n*** Update File: notes.txt\n@@\n one\n-two\n+three\n*** End Patch\n'
const toolNames = (body: JsonObject): string[] =>
  ((body['tools'] ?? []) as readonly { function: { name: string } }[]).map((tool) => tool.function.name)
const offered = (run: Run): readonly JsonObject[] => {
  const first = run.gateway.exchanges.find((exchange) => exchange.path === '/v1/responses')!
  return (JSON.parse(first.requestBody.toString()) as { tools: readonly JsonObject[] }).tools
}
const toolMessages = (run: Run): readonly JsonObject[] => messagesOf(run.engine.requests.at(-1)).filter((message) => message['role'] === 'tool')

const skip = skipLoudly('CODEX CLI', await installCodex())

test('codex exec edits a file through its function tools; hosted tools are left out visibly, namespaces flattened', { skip }, async () => {
  const script: Script = (_body, request) =>
    request === 0
      ? { reasoning: 'I edit with sed.', text: 'I edit the file.', calls: [{ name: 'exec_command', arguments: JSON.stringify({ cmd: 'sed -i s/two/three/ notes.txt && cat notes.txt' }) }] }
      : { text: 'The file says three now.' }
  await codexExec('scripted', script, (run) => {
    assert.equal(readFileSync(join(run.folder, 'notes.txt'), 'utf8'), 'one\nthree\n')
    assert.match(run.output, /The file says three now\./)
    assert.equal(run.engine.requests.length, 2)
    const turns = run.gateway.exchanges.filter((exchange) => exchange.path === '/v1/responses')
    const hosted = offered(run).filter((tool) => tool['type'] === 'web_search')
    assert.ok(hosted.length > 0, 'Codex still offers what no engine here runs')
    for (const turn of turns) assert.equal(turn.headers['x-homing-omitted'], 'web_search')
    const namespaces = offered(run).filter((tool) => tool['type'] === 'namespace')
    assert.ok(namespaces.length > 0)
    const names = toolNames(run.engine.requests[0]!)
    for (const namespace of namespaces) {
      for (const tool of namespace['tools'] as readonly JsonObject[]) assert.ok(names.includes(`${String(namespace['name'])}__${String(tool['name'])}`))
    }
    assert.ok(!names.some((name) => name.includes('web_search')))
    assert.match(String(toolMessages(run)[0]?.['content']), /one\nthree/)
    const [, second] = run.engine.requests
    const before = messagesOf(run.engine.requests[0])
    assert.deepEqual(messagesOf(second).slice(0, before.length), before, 'the first prompt is the beginning of the second')
    assert.equal(messagesOf(second)[before.length]?.['reasoning_content'], 'I edit with sed.')
  })
})

test('codex exec edits a file through apply_patch, a custom tool', { skip }, async () => {
  const script: Script = (_body, request) =>
    request === 0 ? { calls: [{ name: 'apply_patch', arguments: JSON.stringify({ input: PATCH }) }] } : { text: 'Patched.' }
  await codexExec('gpt-5.5', script, (run) => {
    assert.ok(toolNames(run.engine.requests[0]!).includes('apply_patch'))
    assert.equal(readFileSync(join(run.folder, 'notes.txt'), 'utf8'), 'one\nthree\n')
    assert.match(run.output, /Patched\./)
    assert.ok(offered(run).some((tool) => tool['type'] === 'custom' && tool['name'] === 'apply_patch'))
    const [, second] = run.gateway.exchanges.filter((exchange) => exchange.path === '/v1/responses')
    const { input } = JSON.parse(second!.requestBody.toString()) as { input: readonly JsonObject[] }
    const call = input.find((item) => item['type'] === 'custom_tool_call')
    assert.equal(call?.['input'], PATCH, 'the patch came to Codex as plain text')
    const rendered = messagesOf(run.engine.requests[1]).find((message) => message['tool_calls'] !== undefined)
    const [{ function: asked }] = rendered!['tool_calls'] as unknown as [{ function: JsonObject }]
    assert.equal(asked['arguments'], JSON.stringify({ input: PATCH }), 'the engine sees its own bytes again')
    assert.ok(isObject(toolMessages(run)[0]))
  })
})
