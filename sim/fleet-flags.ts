/** The command-line flags that describe a simulated fleet, shared by `homing simulate` and `homing replay`. */
import { DEFAULT_SPEED, isProfileName, PROFILE_NAMES, type BackendSpec } from './profile.ts'

export const FLEET_FLAGS = {
  profile: { type: 'string', default: 'realistic' },
  'prefill-rate': { type: 'string' },
  'decode-ms': { type: 'string' },
  'cache-blocks': { type: 'string' },
  'block-tokens': { type: 'string' },
  'max-sequences': { type: 'string' },
  'batch-tokens': { type: 'string' },
  speeds: { type: 'string' },
} as const

export const FLEET_FLAGS_HELP = `  --profile NAME         prefill-fifo or realistic
  --prefill-rate N       prompt tokens per second and backend (default ${DEFAULT_SPEED.prefillTokensPerSecond})
  --decode-ms N          milliseconds a token of a lone sequence (default ${DEFAULT_SPEED.decodeMsPerToken})
  --cache-blocks N[,N]   KV cache of each backend in blocks; a list is repeated over the fleet
                         (default ${DEFAULT_SPEED.cacheBlocks} of ${DEFAULT_SPEED.blockTokens} tokens, or as many tokens in other blocks)
  --block-tokens N       tokens of a block (default: what the trace says, else ${DEFAULT_SPEED.blockTokens})
  --batch-tokens N       realistic: token budget of a step (default ${DEFAULT_SPEED.maxBatchTokens})
  --max-sequences N      realistic: sequences that run together (default ${DEFAULT_SPEED.maxSequences})
  --speeds F[,F]         speed factors, 0.5 is half as fast; a list is repeated over the fleet`

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

export const positiveList = (name: string, text: string): number[] => text.split(',').map((part) => positive(name, part.trim()))

export const integerList = (name: string, text: string): number[] =>
  text.split(',').map((part) => positiveInteger(name, part.trim()))

/** `blockTokens`: what the workload wants where the flag is not given. */
export const fleetFromFlags = (flags: FleetFlags, backends: number, blockTokens: number): BackendSpec[] => {
  const profile = flags.profile ?? 'realistic'
  if (!isProfileName(profile)) throw new FlagError(`unknown profile '${profile}'; there are: ${PROFILE_NAMES.join(', ')}`)
  const one = (name: keyof typeof FLEET_FLAGS, otherwise: number): number =>
    flags[name] === undefined ? otherwise : positive(name, flags[name])
  const whole = (name: keyof typeof FLEET_FLAGS, otherwise: number): number =>
    flags[name] === undefined ? otherwise : positiveInteger(name, flags[name])
  const caches = flags['cache-blocks'] === undefined
    ? [Math.max(1, Math.floor((DEFAULT_SPEED.cacheBlocks * DEFAULT_SPEED.blockTokens) / whole('block-tokens', blockTokens)))]
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
