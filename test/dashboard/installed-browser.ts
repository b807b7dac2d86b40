/**
 * The browser of this machine, never one that is downloaded: HOMING_BROWSER, or Chromium or Chrome where Linux and macOS have it. Where
 * there is none the tests that need one skip, and say so where nobody can miss it.
 */
import { existsSync } from 'node:fs'

const PLACES = [
  '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', '/usr/bin/google-chrome-stable', '/snap/bin/chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome', '/Applications/Chromium.app/Contents/MacOS/Chromium',
]

export function installedBrowser(): string | null {
  const named = process.env['HOMING_BROWSER']
  if (named !== undefined && named !== '') return named
  return PLACES.find((path) => existsSync(path)) ?? null
}

/** What `test` takes as `skip`. */
export function skipWithoutBrowser(browser: string | null): string | false {
  if (browser !== null) return false
  const bar = '!'.repeat(100)
  process.stderr.write(`\n${bar}\n!! The tests of the dashboard in a REAL BROWSER are SKIPPED: no Chromium or Chrome is installed (HOMING_BROWSER names one)\n${bar}\n\n`)
  return 'SKIPPED: no Chromium or Chrome is installed (HOMING_BROWSER names one)'
}
