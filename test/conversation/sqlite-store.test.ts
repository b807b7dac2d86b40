import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { openSqliteStore } from '../../src/conversation/sqlite-store.ts'
import { storeContract } from './store-contract.ts'

const root = mkdtempSync(join(tmpdir(), 'homing-store-'))
after(() => rmSync(root, { recursive: true, force: true }))
let folders = 0
const folder = (): string => join(root, String((folders += 1)))

storeContract('SQLite store', (options) => openSqliteStore({ ...options, directory: folder() }))
