import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadScript } from './scripts.ts'

type Options = { root: string; say: (text: string) => void; run: (command: string, args: readonly string[]) => Promise<number> }
const { ensureBuilt } = await loadScript<{ ensureBuilt(options: Options): Promise<{ installed: boolean; built: boolean }> }>('ensure-built.mjs')

/** A project of one source whose installer and compiler only leave their folders behind. */
const project = async (use: (project: { root: string; ran: string[]; fail: Set<string>; ensure: () => Promise<unknown> }) => Promise<void>) => {
  const root = mkdtempSync(join(tmpdir(), 'homing-build-'))
  const ran: string[] = []
  const fail = new Set<string>()
  mkdirSync(join(root, 'src'))
  writeFileSync(join(root, 'src', 'a.ts'), 'export const a = 1\n')
  writeFileSync(join(root, 'tsconfig.json'), '{}')
  writeFileSync(join(root, 'package-lock.json'), '{"lockfileVersion":3}')
  const run = (_: string, args: readonly string[]): Promise<number> => {
    const what = args.includes('ci') ? 'install' : 'compile'
    ran.push(what)
    mkdirSync(join(root, what === 'install' ? 'node_modules' : 'dist/src'), { recursive: true })
    return Promise.resolve(fail.has(what) ? 1 : 0)
  }
  try {
    await use({ root, ran, fail, ensure: () => ensureBuilt({ root, say: () => undefined, run }) })
  } finally {
    rmSync(root, { recursive: true })
  }
}

test('the first time installs and compiles, the second does nothing', () => project(async ({ ran, ensure }) => {
  assert.deepEqual(await ensure(), { installed: true, built: true })
  assert.deepEqual(await ensure(), { installed: false, built: false })
  assert.deepEqual(ran, ['install', 'compile'])
}))

test('a changed source is compiled, a touched one is not', () => project(async ({ root, ran, ensure }) => {
  await ensure()
  utimesSync(join(root, 'src', 'a.ts'), new Date(0), new Date(0))
  await ensure()
  assert.deepEqual(ran, ['install', 'compile'])
  writeFileSync(join(root, 'src', 'a.ts'), 'export const a = 2\n')
  assert.deepEqual(await ensure(), { installed: false, built: true })
}))

test('a changed lock file installs again, and a missing node_modules does too', () => project(async ({ root, ran, ensure }) => {
  await ensure()
  writeFileSync(join(root, 'package-lock.json'), '{"lockfileVersion":3,"name":"x"}')
  await ensure()
  assert.deepEqual(ran.splice(0), ['install', 'compile', 'install', 'compile'])
  rmSync(join(root, 'node_modules'), { recursive: true })
  assert.deepEqual(await ensure(), { installed: true, built: false })
}))

test('two at once install and compile once', () => project(async ({ ran, ensure }) => {
  await Promise.all([ensure(), ensure()])
  assert.deepEqual(ran, ['install', 'compile'])
}))

test('what failed is tried again', () => project(async ({ ran, fail, ensure }) => {
  fail.add('install')
  await assert.rejects(ensure(), /npm ci failed/)
  fail.clear()
  fail.add('compile')
  await assert.rejects(ensure(), /do not compile/)
  fail.clear()
  assert.deepEqual(await ensure(), { installed: false, built: true })
  assert.deepEqual(ran, ['install', 'install', 'compile', 'compile'])
}))

test('compiled files whose source is gone are removed', () => project(async ({ root, ensure }) => {
  mkdirSync(join(root, 'dist', 'src'), { recursive: true })
  for (const name of ['a.js', 'gone.js', 'gone.d.ts']) writeFileSync(join(root, 'dist', 'src', name), '')
  await ensure()
  assert.deepEqual(['a.js', 'gone.js', 'gone.d.ts'].map((name) => existsSync(join(root, 'dist', 'src', name))), [true, false, false])
}))

test('an installed package, which has no sources, needs nothing', () => project(async ({ root, ran, ensure }) => {
  rmSync(join(root, 'tsconfig.json'))
  assert.deepEqual(await ensure(), { installed: false, built: false })
  assert.deepEqual(ran, [])
}))
