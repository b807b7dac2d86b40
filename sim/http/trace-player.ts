/**
 * Plays a workload over HTTP at `timeFactor` times its speed and measures in trace time: from the moment a request was
 * due to its first content. `target` says where each request goes: one router, or an engine chosen without one. Sends
 * on time whatever is still unanswered (open loop). Lag of the player itself is part of what it measures; `worstLagMs`
 * says how much that was.
 */
import { Agent, request as httpRequest } from 'node:http'
import type { SimulatedRequest } from '../request.ts'
import type { Workload } from '../workload/workload.ts'
import { traceBody } from './trace-prompt.ts'

export type Played = {
  /** Trace milliseconds; NaN where the request failed. */
  readonly ttftMs: Float64Array
  readonly statuses: Readonly<Record<string, number>>
  readonly cachedTokens: number
  readonly worstLagMs: number
}

export type PlayOptions = {
  readonly workload: Workload
  readonly timeFactor: number
  /** Base URL, `/v1` included. */
  readonly target: (request: SimulatedRequest) => string
  readonly model: string
  readonly clock: () => number
}

const CONTENT = '"content":"'
const CACHED = /"cached_tokens":(\d+)/

export const playTrace = async ({ workload, timeFactor, target, model, clock }: PlayOptions): Promise<Played> => {
  const { requests, blockTokens } = workload
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY })
  const ttftMs = new Float64Array(requests.length).fill(Number.NaN)
  const statuses: Record<string, number> = {}
  const count = (status: string): void => {
    statuses[status] = (statuses[status] ?? 0) + 1
  }
  const startMs = clock()
  const traceMs = (): number => (clock() - startMs) * timeFactor
  let cachedTokens = 0
  let worstLagMs = 0

  const send = (one: SimulatedRequest, position: number, body: string): Promise<void> =>
    new Promise((resolve) => {
      worstLagMs = Math.max(worstLagMs, (traceMs() - one.atMs) / timeFactor)
      const outgoing = httpRequest(
        `${target(one)}/chat/completions`,
        {
          method: 'POST',
          agent,
          headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
        },
        (response) => {
          let tail = ''
          response.setEncoding('utf8')
          response.on('data', (text: string) => {
            if (Number.isNaN(ttftMs[position]!) && hasContent(text)) ttftMs[position] = traceMs() - one.atMs
            tail = (tail + text).slice(-2000)
          })
          response.on('error', () => undefined) // 'close' follows and counts it
          response.on('close', () => {
            count(response.complete ? String(response.statusCode) : 'cut')
            cachedTokens += Number(CACHED.exec(tail)?.[1] ?? 0)
            resolve()
          })
        },
      )
      outgoing.on('error', (error: NodeJS.ErrnoException) => {
        if (outgoing.closed && statuses['cut'] !== undefined) return resolve()
        count(error.code ?? 'error')
        resolve()
      })
      outgoing.end(body)
    })

  const answers: Promise<void>[] = []
  for (const [position, one] of requests.entries()) {
    const body = traceBody(one, blockTokens, model) // made ahead of its time
    const early = (one.atMs - traceMs()) / timeFactor
    if (early > 0.5) await new Promise((resolve) => setTimeout(resolve, early))
    answers.push(send(one, position, body))
  }
  await Promise.all(answers)
  agent.destroy()
  return { ttftMs, statuses, cachedTokens, worstLagMs }
}

/** A first chunk may hold a role and an empty content; that is no token. */
const hasContent = (text: string): boolean => {
  for (let at = text.indexOf(CONTENT); at >= 0; at = text.indexOf(CONTENT, at + 1))
    if (text[at + CONTENT.length] !== '"') return true
  return false
}
