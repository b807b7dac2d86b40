/** `homing simulate`: a simulated fleet over HTTP, to put any router in front of. One base URL a line on stdout. */
import { parseArgs } from 'node:util'
import { FLEET_FLAGS, FLEET_FLAGS_HELP, FlagError, fleetFromFlags, positive, positiveInteger } from '../../sim/fleet-flags.ts'
import { startFleetServer } from '../../sim/http/fleet-server.ts'
import { DEFAULT_SPEED } from '../../sim/profile.ts'

/** vLLM's default block; `prefill-fifo` keeps the 512 tokens that define it. */
const REALISTIC_BLOCK_TOKENS = 16

export const SIMULATE_HELP = `homing simulate [options]

Starts simulated OpenAI-compatible backends and prints one base URL a line. Four characters are a token.

  --backends N           how many (default 3)
  --port BASE            first port, the others follow; 0 takes free ones (default 9001)
  --host ADDRESS         default 127.0.0.1
  --time-factor X        simulated seconds per second (default 1)
  --model NAME           default homing-sim
  --max-model-len N      context in tokens (default 131072)
  --output-tokens N      median length of an answer (default 128); "ignore_eos" makes it max_tokens
${FLEET_FLAGS_HELP}
`

export const simulate = async (args: readonly string[]): Promise<number> => {
  let fleetServer
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        ...FLEET_FLAGS,
        backends: { type: 'string', default: '3' },
        port: { type: 'string', default: '9001' },
        host: { type: 'string', default: '127.0.0.1' },
        'time-factor': { type: 'string', default: '1' },
        model: { type: 'string', default: 'homing-sim' },
        'max-model-len': { type: 'string', default: '131072' },
        'output-tokens': { type: 'string', default: '128' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
    if (values.help) {
      process.stdout.write(SIMULATE_HELP)
      return 0
    }
    const port = values.port === '0' ? 0 : positiveInteger('port', values.port)
    const backends = positiveInteger('backends', values.backends)
    if (port + backends - 1 > 65_535) throw new FlagError(`--port ${port} leaves no room for ${backends} ports`)
    const blockTokens = values['block-tokens'] !== undefined
      ? positiveInteger('block-tokens', values['block-tokens'])
      : values.profile === 'prefill-fifo' ? DEFAULT_SPEED.blockTokens : REALISTIC_BLOCK_TOKENS
    fleetServer = await startFleetServer({
      fleet: fleetFromFlags(values, backends, blockTokens),
      host: values.host,
      port,
      timeFactor: positive('time-factor', values['time-factor']),
      model: values.model,
      maxModelTokens: positiveInteger('max-model-len', values['max-model-len']),
      medianOutputTokens: positiveInteger('output-tokens', values['output-tokens']),
    })
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? ''
    process.stderr.write(`homing simulate: ${(error as Error).message}\n`)
    return error instanceof FlagError || code.startsWith('ERR_PARSE_ARGS') ? 2 : 1
  }
  const { urls, close } = fleetServer
  for (const url of urls) process.stdout.write(`${url}\n`)
  await new Promise<void>((resolve) => {
    process.once('SIGINT', resolve)
    process.once('SIGTERM', resolve)
  })
  await close()
  return 0
}
