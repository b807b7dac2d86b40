import { parseArgs } from 'node:util'
import { nearest } from '../config/nearest.ts'
import { ConfigError } from '../config.ts'
import { parseOptions, UsageError } from './command.ts'
import type { Command, CommandInput, Terminal } from './command.ts'
import { commandHelp, programHelp, usage } from './help.ts'

/** Runs one command line and gives the exit code. */
export async function run(
  argv: readonly string[], commands: readonly Command[], terminal: Terminal,
): Promise<number> {
  const [first, ...rest] = argv
  if (first === undefined) {
    terminal.complain(programHelp(commands))
    return 2
  }
  if (first === '--help' || first === '-h' || first === 'help') return help(rest[0], commands, terminal)
  if (first === '--version' || first === '-v') {
    terminal.print(terminal.version)
    return 0
  }
  const command = commands.find(({ name }) => name === first)
  if (command === undefined) return unknownCommand(first, commands, terminal)
  if (asksForHelp(rest)) return help(command.name, commands, terminal)
  try {
    return await command.run(parse(command, rest), terminal)
  } catch (cause) {
    if (cause instanceof UsageError) {
      terminal.complain(`homing ${command.name}: ${cause.message}\nUsage: ${usage(command)}`)
      return 2
    }
    if (cause instanceof ConfigError) {
      terminal.complain(cause.message)
      return 2
    }
    terminal.complain(`homing ${command.name}: ${failure(cause)}`)
    return 1
  }
}

function help(name: string | undefined, commands: readonly Command[], terminal: Terminal): number {
  const command = commands.find((known) => known.name === name)
  if (name !== undefined && !name.startsWith('-') && command === undefined) {
    return unknownCommand(name, commands, terminal)
  }
  terminal.print(command === undefined ? programHelp(commands) : commandHelp(command))
  return 0
}

function unknownCommand(name: string, commands: readonly Command[], terminal: Terminal): number {
  const [what, names] = name.startsWith('-')
    ? ['option', ['--help', '--version']] as const
    : ['command', commands.map((command) => command.name)] as const
  terminal.complain(`homing: unknown ${what} '${name}'; ${nearest(name, names)}`)
  return 2
}

/** What follows `--` is not an option. */
function asksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf('--')
  return (end === -1 ? args : args.slice(0, end)).some((arg) => arg === '--help' || arg === '-h')
}

function parse(command: Command, args: readonly string[]): CommandInput {
  const options = parseOptions(command)
  const { tokens } = parseArgs({ args: [...args], options, allowPositionals: true, strict: false, tokens: true })
  for (const token of tokens) {
    if (token.kind !== 'option' || options[token.name] !== undefined) continue
    const known = Object.keys(options).map((name) => `--${name}`)
    throw new UsageError(`unknown option '${token.rawName}'; ${nearest(token.rawName, known)}`)
  }
  const { values, positionals } = parseStrictly(args, options)
  if (positionals.length !== command.positionals.length) {
    const missing = command.positionals.slice(positionals.length)
    const extra = positionals.slice(command.positionals.length)
    throw new UsageError(missing.length > 0 ? `${missing.join(' and ')} is missing` : `what is '${extra.join(' ')}'?`)
  }
  return { values, positionals }
}

function parseStrictly(args: readonly string[], options: ReturnType<typeof parseOptions>): CommandInput {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true })
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause))
  }
}

/** One sentence for what the operating system refused; else the error itself, with its stack: it is a defect. */
function failure(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause)
  const { code, syscall } = cause as NodeJS.ErrnoException
  const isDefect = code === undefined && syscall === undefined && cause.name === 'Error'
  return isDefect ? (cause.stack ?? cause.message) : cause.message
}
