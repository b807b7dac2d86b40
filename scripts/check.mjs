// npm run check: types and build, lint, then all tests (the house test among them). Stops at the first that fails.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'

import { ensureBuilt, ROOT } from './ensure-built.mjs'

function step(title, args) {
  process.stderr.write(`homing: ${title} ...\n`)
  const { status } = spawnSync(process.execPath, args, { cwd: ROOT, stdio: 'inherit' })
  if (status !== 0) {
    process.stderr.write(`homing: ${title} failed\n`)
    process.exit(status ?? 1)
  }
}

try {
  await ensureBuilt()
} catch (error) {
  process.stderr.write(`homing: ${error.message}\n`)
  process.exit(1)
}
step('lint', [join(ROOT, 'node_modules', 'oxlint', 'bin', 'oxlint'), '--deny-warnings', 'src', 'sim', 'test', 'bench', 'training', 'scripts', 'dashboard'])
step('tests', [join(ROOT, 'scripts', 'test.mjs')])
