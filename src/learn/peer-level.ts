/**
 * What a backend's factor is, given the factors of its peers: as far from their mean as is certain.
 *
 *   factor = level + apart * max(0, 1 - (2 * error / apart)^2)        logarithms; positive-part James-Stein
 *
 * Within two standard errors of the mean it is the mean: backends that are alike stay alike, and no turn moves for the
 * noise of another one's measurements. Beyond, its own answers speak, all the more the clearer they are. The peers'
 * mean counts as `PEERS` answers besides, so that one odd first answer is no verdict.
 */

/** The sum of the factors' logarithms over the backends that were measured: what a fresh one starts from. */
export type PeerLevel = { sum: number; count: number }

export const meanOf = ({ sum, count }: PeerLevel): number => (count === 0 ? 0 : sum / count)

/** `deviation` of a single answer, `effective`: how many of them the estimate rests on at most. */
export function amongPeers(
  log: number, count: number, deviation: number, effective: number, level: PeerLevel,
): number {
  if (count === 0) return meanOf(level)
  const mean = meanOf(level)
  const apart = (count * (log - mean)) / (count + PEERS)
  const certain = (CERTAIN * deviation) / Math.sqrt(Math.min(count, effective))
  return Math.abs(apart) <= certain ? mean : mean + apart * (1 - (certain / apart) ** 2)
}

const PEERS = 2
/**
 * 95 %. On the Mooncake trace (realistic profile, N = 8 / 5) the mean TTFT falls from 1.43 / 3.11 s without leaning to
 * 1.32 / 2.25 s; 8^(1/2) gives 1.31 / 2.21 s and hides slow backends longer.
 */
const CERTAIN = 2
