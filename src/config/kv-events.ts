/** `kv_events` of a backend: where its engine publishes what its KV cache holds. */
import type { KvEventsConfig } from '../model/backend.ts'
import { describe, isMapping, Section } from './place.ts'
import type { Reader } from './place.ts'
import { integer, oneOf, text } from './values.ts'

export const KV_EVENTS_DEFAULTS = {
  /** Everything that is published. */
  topic: '',
  tokenize: 'auto',
  /**
   * Tokens per second: a 70B model in 16 bits keeps 320 KB a token, so 20 GB/s of a PCIe 5 link in practice are 60,000, and
   * 25 Gbit/s of a network to a store 10,000. Smaller models are faster; operators set what they measure.
   */
  tiers: { cpu: 60_000, store: 10_000 },
} as const satisfies Partial<KvEventsConfig>

/** The endpoint alone, or a mapping. */
export const kvEventsReader: Reader<KvEventsConfig> = (value, place) => {
  if (typeof value !== 'string' && !isMapping(value)) {
    return place.problem(`expected tcp://HOST:PORT or a mapping with it as 'endpoint', but got ${describe(value)}`)
  }
  const section = new Section(
    typeof value === 'string' ? { endpoint: value } : value,
    place,
    ['endpoint', 'replay', 'topic', 'tokenize', 'tiers'],
  )
  const endpoint = section.required('endpoint', zeromqAddress)
  const replay = section.read<string | null>('replay', zeromqAddress, null)
  if (endpoint !== undefined && endpoint === replay) {
    place.at('replay').problem('is the endpoint of the events themselves; an engine publishes and replays on two ports')
  }
  const tiers = new Section(section.raw('tiers') ?? {}, place.at('tiers'), ['cpu', 'store'])
  const config = {
    replay,
    topic: section.read('topic', text, KV_EVENTS_DEFAULTS.topic),
    tokenize: section.read<KvEventsConfig['tokenize']>('tokenize', oneOf('auto', 'observe', 'off'), KV_EVENTS_DEFAULTS.tokenize),
    tiers: {
      cpu: tiers.read('cpu', integer(1), KV_EVENTS_DEFAULTS.tiers.cpu),
      store: tiers.read('store', integer(1), KV_EVENTS_DEFAULTS.tiers.store),
    },
  }
  return endpoint === undefined ? undefined : { endpoint, ...config }
}

/** Homing connects, so an address must name a host: what an engine binds to (`*`, 0.0.0.0) is none. */
const zeromqAddress: Reader<string> = (value, place) => {
  const given = text(value, place)
  if (given === undefined) return undefined
  if (/^ipc:\/\/\S+$/.test(given)) return given
  const match = /^tcp:\/\/(\[[0-9a-fA-F:.]+\]|[^\s/:[\]]+):(\d{1,5})$/.exec(given.trim())
  const port = Number(match?.[2])
  if (match === null || port === 0 || port > 65_535) {
    return place.problem(`'${given}' is not tcp://HOST:PORT, such as tcp://10.0.0.7:5557`)
  }
  if (match[1] === '*' || match[1] === '0.0.0.0' || match[1] === '[::]') {
    return place.problem(`'${given}' is what the engine binds to; name the host that it can be reached at`)
  }
  return given.trim()
}
