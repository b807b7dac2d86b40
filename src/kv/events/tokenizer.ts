/** Asks an engine for the token ids of a conversation and keeps only their states. In the events process: the answer to 100k tokens is 600 KB of JSON. */
import { Agent, request, type Dispatcher } from 'undici'
import { statesOf } from './token-hash.ts'
import type { TokenizeRequest } from './messages.ts'

export type TokenizeResult = { readonly states: Uint32Array | null; readonly tokens: number; readonly why: string | null }

export class Tokenizer {
  readonly #agents = new Map<string, Agent>()

  async states({ url, headers, ca, body, salt, timeoutMs }: TokenizeRequest): Promise<TokenizeResult> {
    try {
      const answer = await request(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body,
        dispatcher: this.#agent(ca),
        signal: AbortSignal.timeout(timeoutMs),
      })
      if (answer.statusCode !== 200) {
        await answer.body.dump()
        return nothing(`${answer.statusCode}`)
      }
      const tokens = tokensOf((await answer.body.json()) as unknown)
      if (tokens === null) return nothing('no list of token ids')
      return { states: statesOf(tokens, salt), tokens: tokens.length, why: null }
    } catch (error) {
      return nothing(error instanceof Error ? (error.name === 'TimeoutError' ? 'timeout' : 'no answer') : 'no answer')
    }
  }

  async close(): Promise<void> {
    const agents = [...this.#agents.values()]
    this.#agents.clear()
    await Promise.all(agents.map((agent) => agent.destroy()))
  }

  /** A certificate authority of its own has connections of its own; there are no more of them than backends. */
  #agent(ca: string | null): Dispatcher {
    let agent = this.#agents.get(ca ?? '')
    if (agent === undefined) {
      agent = new Agent({ connections: 2, connect: ca === null ? {} : { ca } })
      this.#agents.set(ca ?? '', agent)
    }
    return agent
  }
}

const nothing = (why: string): TokenizeResult => ({ states: null, tokens: 0, why })

function tokensOf(body: unknown): readonly number[] | null {
  const tokens = typeof body === 'object' && body !== null ? (body as { tokens?: unknown }).tokens : null
  if (!Array.isArray(tokens)) return null
  for (const token of tokens) if (!Number.isInteger(token) || token < 0) return null
  return tokens as number[]
}
