/**
 * The remote embeddings model, where one is configured: connections of its own, so that neither it nor the backends wait for
 * each other.
 */
import { Agent } from 'undici'
import type { FingerprintConfig } from '../config.ts'
import { RemoteEmbeddings } from '../fingerprint/remote-embeddings.ts'
import { systemAfter } from '../fleet/timers.ts'
import { EmbeddingsClient, type EmbeddingTrouble } from '../upstream/embeddings-client.ts'

export type Embeddings = {
  readonly remote: RemoteEmbeddings
  close(): Promise<void>
}

export type EmbeddingsParts = {
  readonly nowMs: () => number
  readonly fallback: (what: `embedding_${EmbeddingTrouble}`) => void
  readonly told: (about: { readonly url: string; readonly model: string }, what: string) => void
  readonly warn: (error: unknown) => void
}

const CONNECT_MS = 2000
/** Trouble is counted each time, and told once in so long: it may come with every turn. */
const TOLD_EVERY_MS = 60_000

export function buildEmbeddings(config: FingerprintConfig | null, ports: EmbeddingsParts): Embeddings | null {
  const asked = config?.embeddings ?? null
  if (config === null || asked === null) return null
  const { url, model, key, deadlineMs, dimensions, characters } = asked
  ports.told({ url, model }, 'texts of conversations are sent to an embeddings model')
  const agent = new Agent({ connect: { timeout: CONNECT_MS }, headersTimeout: 0, bodyTimeout: 0 })
  let toldMs = -Infinity
  const client = new EmbeddingsClient({
    url, model, key, deadlineMs, dimensions,
    dispatcher: agent,
    nowMs: ports.nowMs,
    after: systemAfter,
    onTrouble: (trouble, cause) => {
      ports.fallback(`embedding_${trouble}`)
      if (cause === null || ports.nowMs() - toldMs < TOLD_EVERY_MS) return
      toldMs = ports.nowMs()
      ports.warn(cause)
    },
  })
  const embed = (texts: readonly string[]) => client.embed(texts)
  return {
    remote: new RemoteEmbeddings({ embed, model, characters, maxConversations: config.conversations }),
    close: () => agent.destroy(),
  }
}
