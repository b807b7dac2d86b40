/**
 * A traced request as text: every block becomes 4 characters a token, drawn from its id, so equal blocks are equal text
 * and a chain of equal blocks is an equal prefix. One user message; the chat template adds 7 tokens. About 20 us a
 * block.
 */
import { mix32 } from '../random.ts'
import type { SimulatedRequest } from '../request.ts'

const LETTERS = 'abcdefghijklmnopqrstuvwxyz'
const WORDS: readonly string[] = Array.from(
  { length: 4096 },
  (_, index) => `${LETTERS[index % 26]}${LETTERS[(index * 7 + (index >> 4)) % 26]}${LETTERS[(index >> 6) % 26]} `,
)

const blockText = (id: number, tokens: number): string => {
  const seed = mix32(id | 0, Math.floor(id / 4294967296))
  let text = ''
  for (let index = 0; index < tokens; index++) text += WORDS[mix32(index, seed) & 4095]
  return text
}

export const tracePrompt = (request: SimulatedRequest, blockTokens: number): string => {
  let text = ''
  for (let index = 0; index < request.blocks.length; index++) {
    text += blockText(request.blocks[index]!, Math.min(blockTokens, request.promptTokens - index * blockTokens))
  }
  return text
}

export const traceBody = (request: SimulatedRequest, blockTokens: number, model: string): string =>
  JSON.stringify({
    model,
    stream: true,
    stream_options: { include_usage: true },
    max_tokens: request.outputTokens,
    ignore_eos: true,
    messages: [{ role: 'user', content: tracePrompt(request, blockTokens) }],
  })
