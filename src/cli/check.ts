import { ConfigError, loadConfig } from '../config.ts'
import type { Config, OwnLabels } from '../config.ts'
import type { Command } from './command.ts'

export const check: Command = {
  name: 'check',
  summary: 'check a configuration file',
  description:
    'Reads a configuration file and prints all that is wrong with it, each with line, path and the nearest valid\n' +
    'key. Contacts no backend. Exits with 0 when the file is valid, with 1 when it is not.',
  positionals: ['FILE'],
  options: {},
  async run(input, terminal) {
    const file = input.positionals[0] ?? ''
    try {
      const config = loadConfig({ file, env: terminal.env })
      if (namesLabels(config)) (await import('../compose.ts')).checkLabels(config)
      terminal.print([`${file}: valid; ${summary(config)}`, ...fingerprintRead(config)].join('\n'))
      return 0
    } catch (cause) {
      if (!(cause instanceof ConfigError)) throw cause
      const { length } = cause.problems
      terminal.complain(`${cause.message}\n${file}: ${length} ${length === 1 ? 'problem' : 'problems'}`)
      return 1
    }
  },
}

/** Topics and labels are known to the model alone, and reading it takes a moment. */
function namesLabels({ models, backends, askingRules, fingerprint }: Config): boolean {
  const own = [fingerprint?.topics, fingerprint?.intents].some((labels) => labels !== undefined && (labels.folder !== null || labels.examples.size > 0))
  const declared = [...Object.values(models), ...backends].some(({ specialisesIn }) => specialisesIn !== undefined)
  return own || declared || askingRules.some(({ topics }) => topics !== null)
}

function summary({ listen, backends, tenants, store }: Config): string {
  const host = listen.host.includes(':') ? `[${listen.host}]` : listen.host
  return [
    `listens on ${host}:${listen.port}`,
    `${backends.length} ${backends.length === 1 ? 'backend' : 'backends'}`,
    tenants.length === 0 ? 'no tenants' : `${tenants.length} ${tenants.length === 1 ? 'tenant' : 'tenants'}`,
    store.path === null ? 'store in memory' : `store in ${store.path}`,
  ].join(', ')
}

/** What was read of own labels and of where texts go; nothing where both are as shipped. */
function fingerprintRead({ fingerprint }: Config): string[] {
  if (fingerprint === null) return []
  const { topics, intents, embeddings } = fingerprint
  const own = (kind: string, { folder, examples }: OwnLabels): string[] => {
    const labels = [...examples].map(([label, sentences]) => `${label} (${sentences.length})`).join(', ')
    return [
      ...(folder === null ? [] : [`  ${kind} from ${folder}`]),
      ...(labels === '' ? [] : [`  ${kind} by example, with their sentences: ${labels}`]),
    ]
  }
  const remote = embeddings === null ? [] : [
    `  embeddings of conversations by ${embeddings.model} at ${embeddings.url}: their texts are sent there`,
  ]
  return [...own('topics', topics), ...own('intents', intents), ...remote]
}
