import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { ERROR_TABLE } from '../../src/model/error.ts'
import { projectRoot } from './root.ts'

const DOCUMENT = join(projectRoot(), 'docs/errors.md')

test('every error code has its row in docs/errors.md, with its status, and none is documented that is gone', () => {
  const rows = new Map([...readFileSync(DOCUMENT, 'utf8').matchAll(/^\| `(\w+)` \| (\d{3}) \|/gm)].map((row) => [row[1]!, Number(row[2])]))
  const table = new Map(Object.entries(ERROR_TABLE).map(([code, [status]]) => [code, status]))
  assert.deepEqual([...rows].sort(), [...table].sort())
})
