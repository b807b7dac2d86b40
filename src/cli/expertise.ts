import { isObject, type JsonObject, type JsonValue } from '../model/json.ts'
import { askGateway, GATEWAY_OPTIONS } from './ask-gateway.ts'
import { textOption, type Command } from './command.ts'
import { table } from './text-table.ts'

export const expertise: Command = {
  name: 'expertise',
  summary: 'show which model is believed to be good at what',
  description:
    'Asks a running gateway what it believes of the models of its groups and prints it: expected quality by topic with its 90 %\n' +
    'interval, how many outcomes that rests on, and when it last changed. Needs an operator key where the gateway asks for one.',
  positionals: [],
  options: {
    ...GATEWAY_OPTIONS,
    tenant: { type: 'string', value: 'ID', help: 'only what this tenant taught' },
    model: { type: 'string', value: 'NAME', help: 'only this model' },
    topic: { type: 'string', value: 'NAME', help: 'only this topic' },
    json: { type: 'boolean', help: 'print the rows as JSON' },
  },
  async run(input, terminal) {
    const query = new URLSearchParams()
    for (const name of ['tenant', 'model', 'topic']) {
      const value = textOption(input, name)
      if (value !== undefined) query.set(name, value)
    }
    const answer = await askGateway(`/homing/v1/expertise?${query.toString()}`, input, terminal)
    if (typeof answer === 'string') {
      terminal.complain(`homing expertise: ${answer}`)
      return 1
    }
    const rows = Array.isArray(answer['data']) ? answer['data'].filter(isObject) : []
    if (input.values['json'] === true) terminal.print(JSON.stringify(rows, null, 2))
    else terminal.print(rows.length === 0 ? 'nothing is known of any model yet' : expertiseTable(rows).join('\n'))
    if (answer['has_more'] === true) terminal.complain('homing expertise: there is more; name a tenant, a model or a topic')
    return 0
  },
}

/** The column of tenants is left out where there is one. */
function expertiseTable(rows: readonly JsonObject[]): readonly string[] {
  const several = new Set(rows.map((row) => text(row['tenant']))).size > 1
  const lines = rows.map((row) => [
    ...(several ? [text(row['tenant'])] : []),
    text(row['model']),
    row['topic'] === null ? '(all)' : text(row['topic']),
    number(row['mean'], 3),
    `[${number(row['low'], 3)}, ${number(row['high'], 3)}]`,
    number(row['observations'], 0),
    typeof row['last_change'] === 'number' ? `${new Date(1000 * row['last_change']).toISOString().slice(0, 16)}Z` : 'never',
  ])
  return table([[...(several ? ['tenant'] : []), 'model', 'topic', 'quality', '90 %', 'outcomes', 'last change'], ...lines], several ? 3 : 2)
}

const number = (value: JsonValue | undefined, decimals: number): string => (typeof value === 'number' ? value.toFixed(decimals) : '-')

/** Control characters never reach the terminal. */
// eslint-disable-next-line no-control-regex
const text = (value: JsonValue | undefined): string => (typeof value === 'string' ? value.replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ') : '-')
