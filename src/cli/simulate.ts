import {
  FLEET_FLAGS,
  FlagError,
  type FleetFlags,
  fleetFromFlags,
  positive,
  positiveInteger,
} from '../../sim/fleet-flags.ts'
import { DEFAULT_SPEED } from '../../sim/profile.ts'
import { textOption, UsageError, type Command } from './command.ts'

/** vLLM's default block; `prefill-fifo` keeps the 512 tokens that define it. */
const REALISTIC_BLOCK_TOKENS = 16

export const simulate: Command = {
  name: 'simulate',
  summary: 'start a simulated fleet over HTTP',
  description:
    'Starts simulated OpenAI-compatible backends, marked as such, and prints one base URL a line. Put any router in front.\n' +
    'Four characters are a token; "ignore_eos" makes an answer exactly max_tokens long. POST /sim/restart and /sim/stall\n' +
    'break a backend. Runs until Ctrl-C.',
  positionals: [],
  options: {
    backends: { type: 'string', value: 'N', help: 'how many (default 3)' },
    port: { type: 'string', value: 'BASE', help: 'first port, the others follow; 0 takes free ones (default 9001)' },
    host: { type: 'string', value: 'ADDRESS', help: 'address to listen on (default 127.0.0.1)' },
    'time-factor': { type: 'string', value: 'X', help: 'simulated seconds per second (default 1)' },
    model: { type: 'string', value: 'NAME', help: 'name of the model (default homing-sim)' },
    'max-model-len': { type: 'string', value: 'N', help: 'context in tokens (default 131072)' },
    'kv-events-port': {
      type: 'string',
      value: 'BASE',
      help: 'publish KV events over ZeroMQ: backend i at BASE+2i, its replay at BASE+2i+1 (default: none)',
    },
    'kv-events-delay': { type: 'string', value: 'MS', help: 'milliseconds until an event leaves (default 0)' },
    'output-tokens': { type: 'string', value: 'N', help: 'median length of an answer (default 128)' },
    ...FLEET_FLAGS,
  },
  async run(input, terminal) {
    const { startFleetServer } = await import('../../sim/http/fleet-server.ts')
    const text = (name: string, otherwise: string): string => textOption(input, name) ?? otherwise
    const start = () => {
      const port = text('port', '9001') === '0' ? 0 : positiveInteger('port', text('port', '9001'))
      const backends = positiveInteger('backends', text('backends', '3'))
      if (port + backends - 1 > 65_535) throw new FlagError(`--port ${port} leaves no room for ${backends} ports`)
      const eventsPort = textOption(input, 'kv-events-port')
      const events = eventsPort === undefined ? null : positiveInteger('kv-events-port', eventsPort)
      if (events !== null && events + 2 * backends > 65_536)
        throw new FlagError(`--kv-events-port ${events} leaves no room for ${2 * backends} ports`)
      const delay = Number(text('kv-events-delay', '0'))
      if (!(delay >= 0)) throw new FlagError('--kv-events-delay must be a number of milliseconds, 0 or more')
      const blocks = text('profile', '') === 'prefill-fifo' ? DEFAULT_SPEED.blockTokens : REALISTIC_BLOCK_TOKENS
      return startFleetServer({
        fleet: fleetFromFlags(input.values as FleetFlags, backends, blocks),
        host: text('host', '127.0.0.1'),
        port,
        timeFactor: positive('time-factor', text('time-factor', '1')),
        model: text('model', 'homing-sim'),
        maxModelTokens: positiveInteger('max-model-len', text('max-model-len', '131072')),
        ...(events === null ? {} : { kvEvents: { port: events, delayMs: delay } }),
        medianOutputTokens: positiveInteger('output-tokens', text('output-tokens', '128')),
      })
    }
    const fleet = await asUsage(start)
    for (const url of fleet.urls) terminal.print(url)
    await new Promise<void>((resolve) => {
      process.once('SIGINT', () => resolve())
      process.once('SIGTERM', () => resolve())
    })
    await fleet.close()
    return 0
  },
}

/** A flag that cannot be used is the caller's mistake. */
export const asUsage = async <T>(action: () => T | Promise<T>): Promise<T> => {
  try {
    return await action()
  } catch (cause) {
    if (cause instanceof FlagError) throw new UsageError(cause.message)
    throw cause
  }
}
