/**
 * A generator of agent loops: sessions that call tools, fork, and send out sub-agents, with a shared system prompt.
 * `homing replay agents` or `agents:sessions=200,seed=3,...`. Sources of the defaults:
 *
 *   turns a session      median 43 (production agents, AgentX figures in vllm#57103)
 *   answer               median 444 tokens (same)
 *   new input a turn     median 2,400 tokens, so that a session of median length ends near the 142k tokens given there
 *   sub-agents           in 44 % of sessions (same); 2 to 4 at once, a quarter of the turns each (assumption)
 *   system prompt        12,288 tokens, one of 3 (the shared agent prompt of the recorded table; number assumed)
 *   tool gap             log-normal, median 2 s, deviation of the logarithm 1 (assumption; routers cap it at 10 s)
 *   user gap             one turn in 10 waits for a person: median 123 s (follow-up gaps of Mooncake's conversation)
 *   forks                one turn in 40 is tried twice from the same prefix (assumption)
 *   arrivals             sessions in bursts of 1 to 3, `everySeconds` apart on average (Poisson)
 *
 * Open loop: the next turn comes a fixed time after the last one, 1 s + 20 ms a token for the answer and the gap.
 */
import { exponential, integerBelow, logNormal, seededRandom, type Random } from '../random.ts'
import { buildWorkload } from './lineage.ts'
import type { RawRequest, Workload } from './workload.ts'

export type AgentLoops = {
  readonly sessions: number
  readonly turns: number
  readonly inputTokens: number
  readonly outputTokens: number
  readonly systemTokens: number
  readonly systemPrompts: number
  readonly everySeconds: number
  readonly toolSeconds: number
  readonly userSeconds: number
  readonly userShare: number
  readonly subAgentShare: number
  readonly forkShare: number
  readonly maxTokens: number
  readonly blockTokens: number
  readonly seed: number
}

export const AGENT_LOOP_DEFAULTS: AgentLoops = {
  sessions: 60,
  turns: 43,
  inputTokens: 2400,
  outputTokens: 444,
  systemTokens: 12_288,
  systemPrompts: 3,
  everySeconds: 20,
  toolSeconds: 2,
  userSeconds: 123,
  userShare: 0.1,
  subAgentShare: 0.44,
  forkShare: 0.025,
  maxTokens: 131_072,
  blockTokens: 64,
  seed: 1,
}

/** Text by its blocks: what is full has an id for good, the rest gets a fresh one in every prompt. */
type Context = { readonly blocks: number[]; tokens: number }

type Made = RawRequest & { endsInCall: boolean }

class Generator {
  readonly #options: AgentLoops
  readonly #random: Random
  readonly #requests: RawRequest[] = []
  readonly #systems: Context[] = []
  #nextId = 0
  #nextSession = 0

  constructor(options: AgentLoops) {
    this.#options = options
    this.#random = seededRandom(options.seed)
    for (let index = 0; index < options.systemPrompts; index++) {
      const system: Context = { blocks: [], tokens: 0 }
      this.#append(system, options.systemTokens)
      this.#systems.push(system)
    }
  }

  run(): readonly RawRequest[] {
    const { sessions, everySeconds } = this.#options
    let atMs = 0
    for (let made = 0; made < sessions;) {
      const burst = Math.min(sessions - made, 1 + integerBelow(this.#random, 3))
      for (let index = 0; index < burst; index++) this.#session(atMs + 50 * index)
      made += burst
      atMs += exponential(this.#random, everySeconds * 1000 * burst)
    }
    return this.#requests.sort((a, b) => a.atMs - b.atMs)
  }

  #session(atMs: number): void {
    const { turns, subAgentShare } = this.#options
    const count = Math.max(1, Math.round(logNormal(this.#random, turns, 0.6)))
    const context = this.#copy(this.#systems[integerBelow(this.#random, this.#systems.length)]!)
    const subAgentsAt = this.#random() < subAgentShare ? integerBelow(this.#random, count) : -1
    this.#loop(context, atMs, count, subAgentsAt)
  }

  /** Returns when the last turn has ended. */
  #loop(context: Context, startMs: number, turns: number, subAgentsAt: number): number {
    const { inputTokens, outputTokens, toolSeconds, userSeconds, userShare, forkShare, maxTokens } = this.#options
    const session = `agent-${this.#nextSession++}`
    let atMs = startMs
    for (let turn = 0; turn < turns; turn++) {
      this.#append(context, Math.max(1, Math.round(logNormal(this.#random, inputTokens, 0.9))))
      const answerTokens = Math.max(1, Math.round(logNormal(this.#random, outputTokens, 0.8)))
      if (context.tokens + answerTokens > maxTokens) break
      if (this.#random() < forkShare) this.#request(this.#copy(context), atMs + 10, answerTokens, session)
      const request = this.#request(context, atMs, answerTokens, session)
      atMs += 1000 + 20 * answerTokens
      if (turn === subAgentsAt) {
        const siblings = 2 + integerBelow(this.#random, 3)
        let lastMs = atMs
        for (let index = 0; index < siblings; index++) {
          const own = this.#copy(this.#systems[0]!)
          lastMs = Math.max(lastMs, this.#loop(own, atMs + 20 * index, Math.max(1, Math.round(turns / 4)), -1))
        }
        atMs = lastMs
      }
      const person = this.#random() < userShare
      request.endsInCall = !person && turn + 1 < turns
      atMs += 1000 * logNormal(this.#random, person ? userSeconds : toolSeconds, 1)
    }
    return atMs
  }

  #request(context: Context, atMs: number, answerTokens: number, session: string): Made {
    const { blockTokens } = this.#options
    const promptTokens = context.tokens
    const blocks = [...context.blocks]
    if (promptTokens % blockTokens !== 0) blocks.push(this.#nextId++)
    const full = context.blocks.length
    this.#append(context, answerTokens)
    const request: Made = {
      atMs,
      promptTokens,
      outputTokens: answerTokens,
      blocks: Int32Array.from(blocks),
      answerBlocks: Int32Array.from(context.blocks.slice(full)),
      session,
      endsInCall: false,
    }
    this.#requests.push(request)
    return request
  }

  #append(context: Context, tokens: number): void {
    context.tokens += tokens
    while (context.blocks.length < Math.floor(context.tokens / this.#options.blockTokens))
      context.blocks.push(this.#nextId++)
  }

  #copy(context: Context): Context {
    return { blocks: [...context.blocks], tokens: context.tokens }
  }
}

export const agentLoops = (changes: Partial<AgentLoops> = {}): Workload => {
  const options = { ...AGENT_LOOP_DEFAULTS, ...changes }
  const notices = [
    `generated: ${options.sessions} agent sessions, seed ${options.seed}; not a measurement of anyone's traffic`,
  ]
  return buildWorkload('agents', options.blockTokens, new Generator(options).run(), notices)
}

/** `agents` or `agents:name=value,...`; null where the name is no such thing. Throws with the names that exist. */
export const parseAgentLoops = (name: string): Partial<AgentLoops> | null => {
  if (name !== 'agents' && !name.startsWith('agents:')) return null
  const changes: Record<string, number> = {}
  for (const part of name
    .slice('agents:'.length)
    .split(',')
    .filter((text) => text !== '')) {
    const [key = '', value = ''] = part.split('=')
    const number = Number(value)
    if (!Object.hasOwn(AGENT_LOOP_DEFAULTS, key) || value === '' || !Number.isFinite(number) || number < 0) {
      throw new RangeError(`'${part}' is not one of ${Object.keys(AGENT_LOOP_DEFAULTS).join('=N, ')}=N`)
    }
    changes[key] = number
  }
  return changes
}
