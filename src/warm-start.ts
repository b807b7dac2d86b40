/**
 * After a restart: what the last stored responses left in the engines' caches is put back into the block index, oldest
 * first so that the order of use is right. Engines outlive the gateway; one that did not contradicts the first answer,
 * and calibration clears it. Runs in slices beside the first turns and never delays them by more than one response.
 */
import type { ResponseStore } from './conversation/response-store.ts'
import { extendByItems, type ChainMaker } from './conversation/resolve.ts'
import type { Backend } from './model/backend.ts'
import type { ConversationItem } from './model/item.ts'
import type { GrowingChain } from './model/turn.ts'

export type WarmStartPorts = {
  readonly store: Pick<ResponseStore, 'recentResponses' | 'getItems'>
  readonly chains: ChainMaker
  readonly backend: (id: string) => Backend | undefined
  readonly insert: (chain: GrowingChain, backend: Backend) => void
  readonly rememberSession: (
    chain: GrowingChain,
    session: { readonly tenant: string; readonly sessionId: string; readonly model: string },
    backendId: string,
  ) => void
  readonly yield: () => Promise<void>
}

/** Resolves with the number of responses that were put back. */
export async function warmStart(ports: WarmStartPorts, maxResponses: number): Promise<number> {
  const recent = await ports.store.recentResponses(maxResponses)
  const continued = new Set(recent.map((response) => response.previousResponseId))
  let restored = 0
  for (const response of recent.toReversed()) {
    const backend = response.home === null ? undefined : ports.backend(response.home.backendId)
    // a response that was continued is part of its child's prefix
    if (backend === undefined || continued.has(response.id)) continue
    const items = await ports.store.getItems(response.tenant, [...response.inputItemIds, ...response.outputItemIds])
    if (items.includes(null)) continue
    const instructions =
      typeof response.resource['instructions'] === 'string' ? response.resource['instructions'] : null
    const head = ports.chains
      .root(response.tenant, response.model)
      .extend(ports.chains.head(instructions, response.tools))
    const chain = extendByItems(head, items as readonly ConversationItem[], ports.chains)
    ports.insert(chain, backend)
    ports.rememberSession(chain, response, backend.id)
    restored++
    await ports.yield()
  }
  return restored
}
