#!/usr/bin/env node
import { COMMANDS } from './cli/commands.ts'
import { run } from './cli/run.ts'
import { readVersion } from './cli/version.ts'

const code = await run(process.argv.slice(2), COMMANDS, {
  env: process.env,
  version: readVersion(),
  print: (text) => void process.stdout.write(`${text}\n`),
  complain: (text) => void process.stderr.write(`${text}\n`),
})
// Connections that a command left behind must not keep the program alive.
process.exit(code)
