import type { ParseArgsConfig } from 'node:util'

/** The program's surroundings, handed in so that a command can be run by a test. */
export type Terminal = {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly version: string
  /** One line, or several, to standard output. */
  print(text: string): void
  /** The same to standard error. */
  complain(text: string): void
}

export type OptionSpec = {
  readonly type: 'string' | 'boolean'
  readonly short?: string
  readonly multiple?: boolean
  /** What stands for the value in the help, such as `FILE`. */
  readonly value?: string
  readonly help: string
}

export type CommandInput = {
  /** By option name; only what was given. */
  readonly values: Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>
  readonly positionals: readonly string[]
}

/** One command of the program. `run` gives the exit code: 0 done, 1 failed, 2 used wrongly. */
export type Command = {
  readonly name: string
  /** One line in the list of commands. */
  readonly summary: string
  /** What its help says below the usage line. */
  readonly description: string
  readonly positionals: readonly string[]
  readonly options: Readonly<Record<string, OptionSpec>>
  run(input: CommandInput, terminal: Terminal): Promise<number>
}

/** Used wrongly: the message says how, the program exits with 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

export function textOption(input: CommandInput, name: string): string | undefined {
  const value = input.values[name]
  return typeof value === 'string' ? value : undefined
}

export function textOptions(input: CommandInput, name: string): readonly string[] {
  const value = input.values[name]
  return Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : []
}

export function parseOptions(command: Command): NonNullable<ParseArgsConfig['options']> {
  return Object.fromEntries(
    Object.entries({ ...command.options, help: HELP_OPTION }).map(([name, { type, short, multiple }]) => [
      name, { type, ...(short === undefined ? {} : { short }), ...(multiple === undefined ? {} : { multiple }) },
    ]),
  )
}

export const HELP_OPTION: OptionSpec = { type: 'boolean', short: 'h', help: 'show this help' }
