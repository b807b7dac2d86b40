/** The command-line flags that describe a simulated fleet, shared by `homing simulate` and `homing replay`. */
import { DEFAULT_SPEED, isProfileName, PROFILE_NAMES, type BackendSpec } from './profile.ts'

/** What a backend's cache holds unless said otherwise, whatever the block size. */
const CACHE_TOKENS = DEFAULT_SPEED.cacheBlocks * DEFAULT_SPEED.blockTokens

/** In the shape of the commands' option tables. */
export const FLEET_FLAGS = {
  profile: { type: 'string', value: 'NAME', help: `${PROFILE_NAMES.join(' or ')} (default realistic)` },
  'prefill-rate': {
    type: 'string',
    value: 'N',
    help: `prompt tokens per second and backend (default ${DEFAULT_SPEED.prefillTokensPerSecond})`,
  },
  'decode-ms': {
    type: 'string',
    value: 'N',
    help: `milliseconds per token of a lone sequence (default ${DEFAULT_SPEED.decodeMsPerToken})`,
  },
  'cache-blocks': {
    type: 'string',
    value: 'N[,N]',
    help: `KV cache in blocks, a list goes round the fleet (default ${CACHE_TOKENS} tokens)`,
  },
  'block-tokens': {
    type: 'string',
    value: 'N',
    help: 'tokens of a block (default: as the trace or the engine has it)',
  },
  'batch-tokens': {
    type: 'string',
    value: 'N',
    help: `realistic: token budget of a step (default ${DEFAULT_SPEED.maxBatchTokens})`,
  },
  'max-sequences': {
    type: 'string',
    value: 'N',
    help: `realistic: sequences that run together (default ${DEFAULT_SPEED.maxSequences})`,
  },
  speeds: { type: 'string', value: 'F[,F]', help: 'speed factors, 0.5 is half as fast; a list goes round the fleet' },
} as const

export type FleetFlags = { readonly [Name in keyof typeof FLEET_FLAGS]?: string | undefined }

/** A flag that cannot be used; the message is for the person who typed it. */
export class FlagError extends Error {}

export const positive = (name: string, text: string): number => {
  const value = Number(text)
  if (!Number.isFinite(value) || value <= 0) throw new FlagError(`--${name} must be a positive number, not '${text}'`)
  return value
}

export const positiveInteger = (name: string, text: string): number => {
  const value = positive(name, text)
  if (!Number.isInteger(value)) throw new FlagError(`--${name} must be a whole number, not '${text}'`)
  return value
}

export const positiveList = (name: string, text: string): number[] =>
  text.split(',').map((part) => positive(name, part.trim()))

export const integerList = (name: string, text: string): number[] =>
  text.split(',').map((part) => positiveInteger(name, part.trim()))

/** `blockTokens`: what the workload wants where the flag is not given. */
export const fleetFromFlags = (flags: FleetFlags, backends: number, blockTokens: number): BackendSpec[] => {
  const profile = flags.profile ?? 'realistic'
  if (!isProfileName(profile))
    throw new FlagError(`unknown profile '${profile}'; there are: ${PROFILE_NAMES.join(', ')}`)
  const one = (name: keyof typeof FLEET_FLAGS, otherwise: number): number =>
    flags[name] === undefined ? otherwise : positive(name, flags[name])
  const whole = (name: keyof typeof FLEET_FLAGS, otherwise: number): number =>
    flags[name] === undefined ? otherwise : positiveInteger(name, flags[name])
  const caches =
    flags['cache-blocks'] === undefined
      ? [Math.max(1, Math.floor(CACHE_TOKENS / whole('block-tokens', blockTokens)))]
      : integerList('cache-blocks', flags['cache-blocks'])
  const speeds = flags.speeds === undefined ? [1] : positiveList('speeds', flags.speeds)
  const shared = {
    ...DEFAULT_SPEED,
    prefillTokensPerSecond: one('prefill-rate', DEFAULT_SPEED.prefillTokensPerSecond),
    decodeMsPerToken: one('decode-ms', DEFAULT_SPEED.decodeMsPerToken),
    blockTokens: whole('block-tokens', blockTokens),
    maxSequences: whole('max-sequences', DEFAULT_SPEED.maxSequences),
    maxBatchTokens: whole('batch-tokens', DEFAULT_SPEED.maxBatchTokens),
  }
  return Array.from({ length: backends }, (_, index) => ({
    profile,
    speed: { ...shared, cacheBlocks: caches[index % caches.length]! },
    speedFactor: speeds[index % speeds.length]!,
  }))
}
