// The flags of `npm start`: two of its own, the rest belongs to `homing serve` and is passed on as it came.

const DEFAULT_ADDRESS = { host: '127.0.0.1', port: 8787 }

export const help = () => `npm start [-- FLAGS]

  Without a configuration: uses local engines on their usual ports, else starts three llama.cpp engines of its own.
  --simulated        start simulated engines instead (no real model)
  All other flags are those of homing serve; --config or --backend, or a homing.yaml in this folder, is a configuration.

`

/**
 * @returns {{ help: boolean, simulated: boolean, configured: boolean, store: string | null, serve: string[],
 *   address: { host: string, port: number } | null }} `address` is null when only the configuration file knows it
 */
export function readFlags(argv, hasConfigFile) {
  const value = name => {
    const at = argv.findLastIndex(arg => arg === name || arg.startsWith(`${name}=`))
    if (at === -1) return null
    return argv[at].includes('=') ? argv[at].slice(name.length + 1) : (argv[at + 1] ?? null)
  }
  const simulated = argv.includes('--simulated')
  const file = value('--config') ?? value('-c') ?? (hasConfigFile && !simulated ? 'homing.yaml' : null)
  const configured = file !== null || value('--backend') !== null
  if (simulated && configured) throw new TypeError('--simulated starts its own backends: leave out --config and --backend')
  const listen = value('--listen')
  const named = value('--config') !== null || value('-c') !== null
  const rest = argv.filter(arg => arg !== '--simulated')
  const address = listen === null ? (file === null ? DEFAULT_ADDRESS : null) : readAddress(listen)
  return {
    help: argv.includes('--help') || argv.includes('-h'),
    simulated,
    configured,
    store: value('--store'),
    serve: configured ? [...(file !== null && !named ? ['--config', file] : []), ...rest] : without(rest, '--listen'),
    // Port 0 of a configured gateway is the system's choice, which only the gateway knows.
    address: configured && address?.port === 0 ? null : address,
  }
}

function readAddress(text) {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(text)
  if (match === null || Number(match[3]) > 65_535) throw new TypeError(`--listen needs HOST:PORT, not '${text}'`)
  return { host: match[1] ?? (match[2] || DEFAULT_ADDRESS.host), port: Number(match[3]) }
}

function without(argv, name) {
  const kept = []
  for (let i = 0; i < argv.length; i += 1) {
    if (argv[i] === name) i += 1
    else if (!argv[i].startsWith(`${name}=`)) kept.push(argv[i])
  }
  return kept
}
