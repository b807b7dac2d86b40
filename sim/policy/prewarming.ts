/**
 * Pre-warming in the laboratory: the gateway's own `Prewarmer`, `Foresight` and account, on virtual time. What is sent is a
 * request of one output token for the whole blocks of the predicted prefix.
 */
import type { Backend } from '../../src/model/backend.ts'
import type { SchedulingRequest } from '../../src/model/decision.ts'
import { HomingError } from '../../src/model/error.ts'
import type { Outcome } from '../../src/model/outcome.ts'
import type { BlockChain } from '../../src/model/turn.ts'
import type { BlockIndex } from '../../src/kv/block-index.ts'
import type { Ledger } from '../../src/fleet/ledger.ts'
import type { LatencyPort } from '../../src/schedule/ports.ts'
import type { Scheduler } from '../../src/schedule/scheduler.ts'
import { PrewarmAccount } from '../../src/upstream/prewarm-account.ts'
import { Foresight, type GapsPort } from '../../src/upstream/prewarm-foresight.ts'
import { Prewarmer } from '../../src/upstream/prewarm.ts'
import type { SimulatedRequest } from '../request.ts'
import type { RouterContext } from './policy.ts'

export type PrewarmingParts = {
  readonly context: RouterContext
  readonly backends: readonly Backend[]
  readonly scheduler: Scheduler
  readonly index: BlockIndex
  readonly ledger: Ledger
  readonly latency: LatencyPort
  readonly gaps: GapsPort
  readonly after: (ms: number, callback: () => void) => () => void
  readonly tokensPerMinute: number
}

export type Prewarming = {
  begins(request: SimulatedRequest, scheduling: SchedulingRequest, home: Backend): void
  moved(): void
  ended(request: SimulatedRequest, scheduling: SchedulingRequest, outcome: Outcome): void
  changed(backend: Backend): void
}

export const prewarming = (parts: PrewarmingParts): Prewarming => {
  const { context, scheduler, index, ledger, latency, after } = parts
  const nowMs = (): number => context.nowMs()
  const account = new PrewarmAccount({
    nowMs,
    seconds: (tokens, backend, model) => latency.prefillSeconds(tokens, backend, model) - latency.prefillSeconds(0, backend, model),
    onSwitch: () => undefined,
  })
  const prewarmer = new Prewarmer<SimulatedRequest>(
    {
      rank: (request) => scheduler.rank(request),
      index,
      ledger,
      turnsWaiting: () => scheduler.waiting.turns,
      tokensPerMinute: () => parts.tokensPerMinute,
      prefillSeconds: (tokens, backend, model) => latency.prefillSeconds(tokens, backend, model),
      nowMs,
      after,
      send: ({ prompt, request }, backend, handler) => {
        const startedMs = nowMs()
        const ahead = aheadOf(prompt, request.chain, context.blockTokens, startedMs)
        const cancel = context.background(ahead, backend.index, (job) => {
          if (job.state !== 'finished') return handler.failed()
          handler.done({ promptTokens: ahead.promptTokens, cachedTokens: job.cachedTokens, ttftMs: nowMs() - startedMs })
        })
        return { cancel }
      },
      learn: () => undefined,
    },
    account,
  )
  const foresight = new Foresight<SimulatedRequest>(
    {
      wish: (wish) => prewarmer.wish(wish),
      gaps: parts.gaps,
      nowMs,
      rank: (request) => {
        try {
          return scheduler.rank(request)
        } catch (error) {
          if (error instanceof HomingError) return null
          throw error
        }
      },
    },
    { maxConversations: 2000, maxCharacters: Infinity },
  )
  const expected = (scheduling: SchedulingRequest, chain: BlockChain, home: Backend): SchedulingRequest => ({
    ...scheduling,
    chain,
    promptTokens: (chain.totalCharacters / chain.blockCharacters) * context.blockTokens,
    homeBackendId: home.id,
  })
  return {
    begins: (prompt, scheduling, home) => {
      const key = scheduling.sessionId
      prewarmer.turnBegins(key, home.index)
      account.dispatched(scheduling.chain, home.index)
      const request = expected(scheduling, scheduling.chain, home)
      foresight.began({ key, request, prompt, home }, ledger.waitSeconds(home.index))
    },
    moved: () => prewarmer.turnMoved(),
    ended: (prompt, scheduling, outcome) => {
      account.settle(outcome)
      const key = scheduling.sessionId
      const home = outcome.backend
      if (outcome.status !== 'completed') return foresight.dropped(key)
      const request = expected(scheduling, outcome.fullChain, home)
      foresight.ended({ key, request, prompt, home }, prompt.endsInCall === true ? 'tool' : 'person', 0)
    },
    changed: (backend) => {
      if (backend.healthy && !backend.draining) return
      prewarmer.lost(backend.index)
      if (!backend.draining) account.emptied(backend.index)
      foresight.lost(backend)
    },
  }
}

/** The first blocks of a prompt and its answer as a request of their own. */
const aheadOf = (prompt: SimulatedRequest, chain: BlockChain, blockTokens: number, atMs: number): SimulatedRequest => {
  const full = Math.floor(prompt.promptTokens / blockTokens)
  const blocks = Array.from({ length: chain.length }, (_, at) => (at < full ? prompt.blocks[at]! : prompt.answerBlocks[at - full]!))
  return {
    index: -1, atMs, promptTokens: chain.length * blockTokens, outputTokens: 1, blocks, answerBlocks: [], session: prompt.session, parent: -1,
  }
}
