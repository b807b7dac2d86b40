import { setTimeout as sleep } from 'node:timers/promises'
import type { Config } from '../config.ts'
import { loadConfig } from '../config.ts'
import type { Backend } from '../model/backend.ts'
import { textOption, textOptions } from './command.ts'
import type { Command, CommandInput, Terminal } from './command.ts'

/** What `serve` needs of a running gateway. */
export type RunningGateway = {
  readonly url: string
  readonly dashboardUrl: string | null
  /** The backends and the moment when all of them were probed once, for the lines printed at start. */
  readonly fleet: { list(): readonly Backend[]; readonly firstProbeDone: Promise<void> }
  /** Stops accepting, lets turns finish for up to `graceMs`. */
  close(graceMs: number): Promise<void>
  /** Ends everything at once. */
  abort(): void
}

/** How long the first probes may take before the state of the backends is printed anyway. */
const PRINT_BACKENDS_AFTER_MS = 5000

export const serve: Command = {
  name: 'serve',
  summary: 'run the gateway',
  description:
    'Runs the gateway until it is told to stop. Flags replace what the file says; --backend adds to it.\n' +
    'SIGTERM or Ctrl-C stops accepting and lets running turns finish (30 s unless configured); a second ends at once.',
  positionals: [],
  options: {
    config: { type: 'string', short: 'c', value: 'FILE', help: 'configuration (YAML)' },
    listen: { type: 'string', value: 'HOST:PORT', help: 'address; default 127.0.0.1:8787, port 0 takes a free one' },
    backend: { type: 'string', multiple: true, value: 'URL', help: 'base URL of an engine, with or without /v1' },
    store: { type: 'string', value: 'DIR|memory', help: 'where conversations are kept; default ./homing-data' },
    open: { type: 'boolean', help: 'serve everybody, also on an address that other machines reach' },
    'log-level': { type: 'string', value: 'LEVEL', help: 'debug, info, warn, error or silent; default info' },
  },
  async run(input, terminal) {
    const config = loadServeConfig(input, terminal)
    // Known first: a signal during the start must not be lost.
    const stop = stopSignals()
    const { startGateway } = await import('../compose.ts')
    let gateway: RunningGateway | null
    try {
      gateway = await Promise.race([startGateway(config, { version: terminal.version }), stop.second.then(() => null)])
    } catch (cause) {
      terminal.complain(`homing serve: ${startFailure(cause, config)}`)
      return 1
    }
    if (gateway === null) return exitCode(await stop.second)
    const count = config.backends.length
    terminal.print(`homing ${terminal.version} serves ${gateway.url} from ${count} backend${count === 1 ? '' : 's'}`)
    if (gateway.dashboardUrl !== null) terminal.print(`  dashboard ${gateway.dashboardUrl}`)
    void printBackends(gateway, terminal)
    return await untilStopped(gateway, stop, config.shutdownGraceMs, terminal)
  },
}

function loadServeConfig(input: CommandInput, terminal: Terminal): Config {
  const file = textOption(input, 'config')
  const listen = textOption(input, 'listen')
  const store = textOption(input, 'store')
  const logLevel = textOption(input, 'log-level')
  return loadConfig({
    ...(file === undefined ? {} : { file }),
    env: terminal.env,
    flags: {
      backends: textOptions(input, 'backend'),
      ...(listen === undefined ? {} : { listen }),
      ...(store === undefined ? {} : { store }),
      ...(logLevel === undefined ? {} : { logLevel }),
      ...(input.values['open'] === true ? { open: true } : {}),
    },
  })
}

type StopSignals = { readonly first: Promise<NodeJS.Signals>; readonly second: Promise<NodeJS.Signals>; off(): void }

function stopSignals(): StopSignals {
  const resolvers: ((signal: NodeJS.Signals) => void)[] = []
  const next = (): Promise<NodeJS.Signals> => new Promise((resolve) => resolvers.push(resolve))
  const signals = { first: next(), second: next() }
  const onSignal = (signal: NodeJS.Signals): void => resolvers.shift()?.(signal)
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  const off = (): void => {
    process.off('SIGTERM', onSignal)
    process.off('SIGINT', onSignal)
  }
  return { ...signals, off }
}

/** The exit code: 0 after an orderly end, another when a second signal cut it short. */
async function untilStopped(
  gateway: RunningGateway, stop: StopSignals, graceMs: number, terminal: Terminal,
): Promise<number> {
  const signal = await stop.first
  terminal.complain(`homing: ${signal}, finishing running turns for up to ${graceMs / 1000} s; once more ends at once`)
  const closed = gateway.close(graceMs).then(() => 0)
  const cut = stop.second.then((again) => {
    gateway.abort()
    return exitCode(again)
  })
  try {
    return await Promise.race([closed, cut])
  } finally {
    stop.off()
  }
}

/** After a second signal. */
function exitCode(signal: NodeJS.Signals): number {
  return signal === 'SIGINT' ? 130 : 1
}

async function printBackends(gateway: RunningGateway, terminal: Terminal): Promise<void> {
  const { fleet } = gateway
  if (fleet.list().length === 0) {
    terminal.print('  no backend yet: add one with --backend URL, in the file, or with POST /homing/v1/backends')
    return
  }
  await Promise.race([fleet.firstProbeDone, sleep(PRINT_BACKENDS_AFTER_MS, undefined, { ref: false })])
  for (const backend of fleet.list()) terminal.print(`  ${describeBackend(backend)}`)
}

function describeBackend(backend: Backend): string {
  const { url } = backend.config
  const name = url.endsWith(`//${backend.id}`) ? url : `${backend.id} (${url})`
  if (!backend.healthy) return `${name}  not usable: ${backend.trouble ?? 'unknown'}`
  const protocols = [...backend.protocols].join(' and ') || 'neither chat nor responses'
  const models = [...backend.models.keys()]
  const rest = models.length > 3 ? ` and ${models.length - 3} more models` : ''
  const shown = models.slice(0, 3).join(', ') + rest
  return `${name}  usable: ${backend.engine}, ${protocols}, ${shown}`
}

function startFailure(cause: unknown, config: Config): string {
  const error = cause as NodeJS.ErrnoException
  const where = `${config.listen.host}:${config.listen.port}`
  if (error.code === 'EADDRINUSE') {
    return `${where} is already in use; stop what listens there, or choose another --listen`
  }
  if (error.code === 'EACCES' && error.syscall === 'listen') {
    return `${where} may not be listened on by this user; choose a port above 1023`
  }
  if (error.code === 'EADDRNOTAVAIL') return `${config.listen.host} is not an address of this machine`
  if (error.code === 'ENOTFOUND' || error.code === 'EAI_AGAIN') return `the host name ${config.listen.host} is unknown`
  return cause instanceof Error ? cause.message : String(cause)
}
