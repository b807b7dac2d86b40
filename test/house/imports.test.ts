import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { test } from 'node:test'
import { projectRoot } from './root.ts'

const ROOT = projectRoot()
const SOURCE = join(ROOT, 'src')

/** Who may import whom; a room may always import itself. Rooms that are not listed (cli, the files of src/) see all. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  model: [],
  wire: ['model'],
  conversation: ['model'],
  fingerprint: ['model'],
  kv: ['model'],
  fleet: ['model'],
  learn: ['model'],
  schedule: ['model'],
  upstream: ['model', 'wire'],
  // the door knows the shapes it parses, and the sinks and stores that its routes are given, by type
  http: ['model', 'wire', 'upstream', 'conversation'],
  config: ['model', '.'],
}

const files = (folder: string): string[] =>
  readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? files(join(folder, entry.name)) : entry.name.endsWith('.ts') ? [join(folder, entry.name)] : [])

const roomOf = (file: string): string => {
  const parts = relative(SOURCE, file).split(sep)
  return parts.length === 1 ? '.' : parts[0]!
}

const importsOf = (file: string): { readonly target: string; readonly typeOnly: boolean }[] =>
  [...readFileSync(file, 'utf8').matchAll(/^(?:import|export)\s+(type\s)?[^'"]*from\s+'(\.[^']+)'/gm)].map((found) => ({
    target: join(dirname(file), found[2]!), typeOnly: found[1] !== undefined,
  }))

test('a room imports only the rooms that the house allows', () => {
  const broken: string[] = []
  for (const file of files(SOURCE)) {
    const room = roomOf(file)
    const allowed = MAY_IMPORT[room]
    if (allowed === undefined) continue
    for (const { target, typeOnly } of importsOf(file)) {
      const other = roomOf(target)
      if (other === room || allowed.includes(other)) {
        if (room === 'http' && other === 'conversation' && !typeOnly) broken.push(`${relative(ROOT, file)} imports ${relative(ROOT, target)} by value`)
        continue
      }
      broken.push(`${relative(ROOT, file)} imports ${relative(ROOT, target)}`)
    }
  }
  assert.deepEqual(broken, [])
})

test('only compose and its folder construct: no other file builds the objects of several rooms', () => {
  const rooms = ['conversation', 'fleet', 'kv', 'learn', 'schedule', 'upstream']
  const builders = files(SOURCE).filter((file) => {
    const values = new Set(importsOf(file).filter(({ typeOnly }) => !typeOnly).map(({ target }) => roomOf(target)).filter((room) => rooms.includes(room)))
    return roomOf(file) !== 'compose' && values.size > 3
  })
  assert.deepEqual(builders.map((file) => relative(SOURCE, file)), ['compose.ts'])
})

test('nobody but compose.ts imports the folder compose, not even a type or late', () => {
  const named = /'(\.{1,2}\/[^'\s]+)'/g
  const importers = files(SOURCE).filter((file) =>
    [...readFileSync(file, 'utf8').matchAll(named)].some((found) => roomOf(join(dirname(file), found[1]!)) === 'compose'))
  assert.deepEqual(importers.filter((file) => roomOf(file) !== 'compose').map((file) => relative(SOURCE, file)), ['compose.ts'])
})

test('no room is called utils, helpers, common, manager or service', () => {
  const forbidden = files(SOURCE).filter((file) => /(^|[/-])(utils?|helpers?|common|managers?|services?)([.-]|\/|$)/.test(relative(SOURCE, file)))
  assert.deepEqual(forbidden, [])
})

test('model imports nothing at all', () => {
  for (const file of files(join(SOURCE, 'model'))) {
    const outside = [...readFileSync(file, 'utf8').matchAll(/from '([^']+)'/g)].map((found) => found[1]!).filter((target) => !target.startsWith('./'))
    assert.deepEqual(outside, [], relative(ROOT, file))
  }
})
