import { HELP_OPTION } from './command.ts'
import type { Command, OptionSpec } from './command.ts'

export function programHelp(commands: readonly Command[]): string {
  const width = Math.max(...commands.map((command) => command.name.length))
  return [
    'homing: a gateway for the OpenAI Responses API; each conversation goes to the backend that holds its KV cache',
    '',
    'Usage: homing COMMAND [options]',
    '',
    'Commands',
    ...commands.map((command) => `  ${command.name.padEnd(width)}  ${command.summary}`),
    '',
    '  homing COMMAND --help shows the options of a command, homing --version the version.',
    '',
    'Exit codes: 0 done, 1 failed, 2 used or configured wrongly.',
  ].join('\n')
}

export function commandHelp(command: Command): string {
  const options = Object.entries({ ...command.options, help: HELP_OPTION }).map(
    ([name, spec]) => [optionText(name, spec), spec.help] as const,
  )
  const width = Math.max(...options.map(([text]) => text.length))
  return [
    `Usage: ${usage(command)}`,
    '',
    command.description,
    '',
    'Options',
    ...options.map(([text, help]) => `  ${text.padEnd(width)}  ${help}`),
  ].join('\n')
}

export function usage(command: Command): string {
  const options = Object.entries(command.options).map(([name, spec]) => {
    const value = spec.value === undefined ? '' : ` ${spec.value}`
    return `[--${name}${value}]${spec.multiple === true ? '...' : ''}`
  })
  return ['homing', command.name, ...command.positionals, ...options].join(' ')
}

function optionText(name: string, spec: OptionSpec): string {
  const long = `--${name}${spec.value === undefined ? '' : ` ${spec.value}`}`
  return spec.short === undefined ? `    ${long}` : `-${spec.short}, ${long}`
}
