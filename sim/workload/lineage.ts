/**
 * Who continues whom, from prefixes alone, as a router without session ids could see it: the parent is the last request
 * that held the deepest shared block which fewer than three different blocks follow. A block with three or more
 * continuations is a trunk (a system prompt) and says nothing. Sessions are the trees that this gives.
 *
 * A trace names no blocks for answers. Where a child repeats its parent's prompt and goes on, the child's blocks in the
 * place of the answer are the answer's; where nobody continues, the answer gets ids of its own, so that it still takes
 * room in a cache. O(blocks) time, one map entry per distinct block.
 */
import type { SimulatedRequest } from '../request.ts'
import type { RawRequest, Workload } from './workload.ts'

const TRUNK_FAN_OUT = 3

type Node = { lastRequest: number; firstNext: number; secondNext: number; fanOut: number }

const parentsOf = (requests: readonly RawRequest[]): Int32Array => {
  const nodes = new Map<number, Node>()
  const parents = new Int32Array(requests.length).fill(-1)
  for (const [index, { blocks }] of requests.entries()) {
    let depth = 0
    for (; depth < blocks.length; depth++) {
      const node = nodes.get(blocks[depth]!)
      if (node === undefined) break
      if (node.fanOut < TRUNK_FAN_OUT) parents[index] = node.lastRequest
    }
    for (let at = 0; at < blocks.length; at++) {
      const id = blocks[at]!
      let node = nodes.get(id)
      if (node === undefined) nodes.set(id, (node = { lastRequest: index, firstNext: -1, secondNext: -1, fanOut: 0 }))
      node.lastRequest = index
      const next = blocks[at + 1]
      if (next === undefined || node.fanOut >= TRUNK_FAN_OUT || next === node.firstNext || next === node.secondNext)
        continue
      if (node.fanOut === 0) node.firstNext = next
      else if (node.fanOut === 1) node.secondNext = next
      node.fanOut++
    }
  }
  return parents
}

export const buildWorkload = (
  name: string,
  blockTokens: number,
  raw: readonly RawRequest[],
  notices: readonly string[] = [],
): Workload => {
  const parents = parentsOf(raw)
  const answers: (ArrayLike<number> | null)[] = raw.map((request) => request.answerBlocks)
  let freshId = 0
  for (const { blocks } of raw) for (let at = 0; at < blocks.length; at++) freshId = Math.max(freshId, blocks[at]! + 1)
  for (const [index, child] of raw.entries()) {
    const parent = parents[index]!
    if (parent < 0 || answers[parent] !== null) continue
    const { promptTokens, outputTokens, blocks } = raw[parent]!
    const from = Math.floor(promptTokens / blockTokens)
    const to = Math.floor((promptTokens + outputTokens) / blockTokens)
    if (child.promptTokens < promptTokens + outputTokens || child.blocks.length < to) continue
    if (from > 0 && child.blocks[from - 1] !== blocks[from - 1]) continue
    answers[parent] = Array.from({ length: to - from }, (_, at) => child.blocks[from + at]!)
  }
  const sessions = new Map<string, number>()
  const sessionOf = new Int32Array(raw.length)
  let sessionCount = 0
  const requests = raw.map((request, index): SimulatedRequest => {
    const parent = parents[index]!
    if (request.session !== null) {
      const known = sessions.get(request.session)
      sessionOf[index] = known ?? sessionCount
      if (known === undefined) sessions.set(request.session, sessionCount++)
    } else sessionOf[index] = parent >= 0 ? sessionOf[parent]! : sessionCount++
    const from = Math.floor(request.promptTokens / blockTokens)
    const count = Math.floor((request.promptTokens + request.outputTokens) / blockTokens) - from
    const answerBlocks = answers[index] ?? Array.from({ length: count }, () => freshId++)
    const { atMs, promptTokens, outputTokens, blocks } = request
    const session = sessionOf[index]!
    const { endsInCall } = request
    return {
      index, atMs, promptTokens, outputTokens, blocks, answerBlocks, session, parent,
      ...(endsInCall === undefined ? {} : { endsInCall }),
    }
  })
  return { name, blockTokens, requests, notices }
}
