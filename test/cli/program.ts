import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../../src/main.js', import.meta.url))

export type Program = {
  readonly child: ChildProcess
  /** What it wrote so far, both streams together and apart. */
  readonly wrote: { out: string; error: string }
  /** Resolves with the first match in standard output or error; rejects when the program ends without it. */
  says(pattern: RegExp): Promise<RegExpExecArray>
  readonly ended: Promise<{ code: number | null; out: string; error: string }>
}

/** Starts the built program as a user would. */
export function program(args: readonly string[], env: Record<string, string> = {}): Program {
  const child = spawn(process.execPath, [MAIN, ...args], { env: { PATH: process.env['PATH'], ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  const wrote = { out: '', error: '' }
  const watchers = new Set<() => void>()
  child.stdout.on('data', (chunk: Buffer) => {
    wrote.out += chunk.toString()
    for (const watch of watchers) watch()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    wrote.error += chunk.toString()
    for (const watch of watchers) watch()
  })
  const ended = new Promise<{ code: number | null; out: string; error: string }>((resolve) => {
    child.on('close', (code) => resolve({ code, ...wrote }))
  })
  const says = (pattern: RegExp): Promise<RegExpExecArray> => new Promise((resolve, reject) => {
    const look = (): void => {
      const found = pattern.exec(wrote.out) ?? pattern.exec(wrote.error)
      if (found !== null) {
        watchers.delete(look)
        resolve(found)
      }
    }
    watchers.add(look)
    look()
    void ended.then(({ code, out, error }) => reject(new Error(`ended with ${code} before saying ${pattern}: ${out}${error}`)))
  })
  return { child, wrote, says, ended }
}

export async function runProgram(args: readonly string[], env: Record<string, string> = {}): Promise<Awaited<Program['ended']>> {
  return await program(args, env).ended
}
