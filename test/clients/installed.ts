/**
 * Clients that are no packages of this project: installed under `.cache` on first use, kept there. Where that cannot be,
 * the tests that need one skip, and say so where nobody can miss it.
 */
import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { repositoryRoot } from './house.ts'

export const cacheFolder = (name: string): string => {
  const folder = join(repositoryRoot(), '.cache', name)
  mkdirSync(folder, { recursive: true })
  return folder
}

export type Finished = { readonly code: number | null; readonly output: string }

export type RunOptions = { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv; readonly limitMs?: number }

/** Output is stdout and stderr together. A program that cannot be started has code null, as one that was ended. */
export function runProgram(command: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: options.cwd ?? repositoryRoot(), env: options.env ?? process.env, stdio: ['ignore', 'pipe', 'pipe'], detached: true,
    })
    // A launcher's own children end with it: they are one process group.
    const limit = setTimeout(() => {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    }, options.limitMs ?? 180_000)
    let output = ''
    const keep = (chunk: Buffer): void => {
      output += chunk.toString()
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    const end = (code: number | null, more = ''): void => {
      clearTimeout(limit)
      resolve({ code, output: output + more })
    }
    child.once('error', (error) => end(null, error.message))
    child.once('close', (code) => end(code))
  })
}

/** Runs the steps of an installation until one fails; null when all went well, else why not. */
export async function install(steps: readonly (readonly [command: string, ...args: string[]])[]): Promise<string | null> {
  for (const [command, ...args] of steps) {
    const { code, output } = await runProgram(command, args)
    if (code !== 0) return `${command} ${args.join(' ')}: ${output.trim().split('\n').at(-1) ?? ''}`
  }
  return null
}

/** What `test` takes as `skip`: false, or the reason, which is also printed as a banner. */
export function skipLoudly(what: string, why: string | null): string | false {
  if (why === null) return false
  const bar = '!'.repeat(100)
  process.stderr.write(`\n${bar}\n!! SKIPPED, ${what} COULD NOT BE INSTALLED: ${why}\n${bar}\n\n`)
  return `SKIPPED: ${what} could not be installed: ${why}`
}
