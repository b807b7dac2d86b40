/** The official client for Python, unmodified, in a folder of its own (openai_python.py is the program). */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { checkContract } from './contract.ts'
import { openHouse, repositoryRoot } from './house.ts'
import { cacheFolder, install, runProgram, skipLoudly } from './installed.ts'
import { messagesOf, type ScriptedAnswer } from './scripted-engine.ts'

const VERSION = '3.57.0'
const packages = join(cacheFolder('python'), `openai-${VERSION}`)
const env = { ...process.env, PYTHONPATH: packages }

/** Into a folder of its own: pip is enough, neither a virtual environment nor the system's packages are touched. */
async function installClient(): Promise<string | null> {
  const present = await runProgram('python3', ['-c', 'import openai, pydantic'], { env })
  if (present.code === 0) return null
  return install([['python3', '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--upgrade', '--target', packages, `openai==${VERSION}`]])
}

/** `say: X`, `think: X` and `call: CITY CITY` in a user's message; a tool's message is counted. */
function answer(messages: readonly { readonly [key: string]: unknown }[]): ScriptedAnswer {
  const last = messages.at(-1)
  if (last?.['role'] === 'tool') return { text: `${messages.filter((message) => message['role'] === 'tool').length} results` }
  const [, verb, rest = ''] = /^(\w+): (.*)$/s.exec(String(last?.['content'])) ?? []
  if (verb === 'call') return { calls: rest.split(' ').map((city) => ({ name: 'get_weather', arguments: `{"city": "${city}"}` })) }
  return verb === 'think' ? { reasoning: 'I think.', text: rest } : { text: rest }
}

const skip = skipLoudly('openai FOR PYTHON', await installClient())

test('the Python client: create, stream, tools, parse, conversations, chat, errors', { skip }, async () => {
  const house = await openHouse((body) => answer(messagesOf(body)), 'tenants: [{ id: acme, keys: [key-a] }]')
  try {
    const script = join(repositoryRoot(), 'test', 'clients', 'openai_python.py')
    const { code, output } = await runProgram('python3', [script, house.baseUrl, 'key-a'], { env, limitMs: 60_000 })
    assert.equal(code, 0, output)
    assert.deepEqual(output.trim().split('\n'), ['create', 'stream', 'tools', 'parse', 'conversations', 'chat', 'errors'])
  } finally {
    await house.close()
  }
  checkContract(house.exchanges)
})
