/**
 * Chat Completions chunks -> one response.
 *
 * Reads the shapes of vLLM (`reasoning`, usage last), SGLang and llama.cpp (`reasoning_content`, a first chunk with
 * `"content": null`, `timings`), and of servers that leave out `index` in tool calls. The answer ends at `[DONE]` or at
 * the body's end, once a finish reason was seen: usage comes after it. `<think>` tags are text; separating them is the
 * engine's business. Only choice 0 is read: a response is one answer.
 */
import { isObject, type JsonObject, type JsonValue } from '../model/json.ts'
import { BackendStreamBase, type BackendStream } from './backend-stream.ts'
import { logprobsFromChat } from './logprobs.ts'
import type { ResponseAssembly } from './response-assembly.ts'
import { RepeatedChunk } from './repeated-chunk.ts'
import { ToolCallSlots } from './tool-call-slots.ts'
import { usageFromChat } from './usage-shape.ts'

export type { BackendStream, StreamEnd, StreamError } from './backend-stream.ts'

export function createChatStream(assembly: ResponseAssembly): BackendStream {
  return new ChatStream(assembly)
}

class ChatStream extends BackendStreamBase {
  readonly #slots = new ToolCallSlots()
  readonly #repeated = new RepeatedChunk()
  #finishReason: string | null = null

  override push(data: string): void {
    const text = this.finished === null && this.error === null ? this.#repeated.read(data) : null
    if (text === null || text === '') {
      super.push(data)
      return
    }
    this.assembly.text(text)
    this.firstOutput = true
    this.counted += 1
  }

  protected receive(chunk: JsonObject, data: string): void {
    this.#repeated.learn(data, chunk)
    const { choices } = chunk
    if (isObject(chunk['usage']) || isObject(chunk['timings'])) {
      this.usage = usageFromChat(chunk['usage'], chunk['timings']) ?? this.usage
    }
    if ((chunk['error'] !== undefined && chunk['error'] !== null) || chunk['object'] === 'error') {
      this.failFromPayload(chunk)
      return
    }
    if (!Array.isArray(choices)) return
    for (const choice of choices as readonly JsonValue[]) {
      if (isObject(choice) && (choice['index'] ?? 0) === 0) this.#choice(choice)
    }
  }

  protected ended(why: string): void {
    switch (this.#finishReason) {
      case null:
        this.fail(why)
        break
      case 'stop':
      case 'tool_calls':
      case 'function_call':
        this.complete()
        break
      case 'length':
        this.incomplete('max_output_tokens')
        break
      case 'content_filter':
        this.incomplete('content_filter')
        break
      default:
        this.fail(
          `The backend stopped the answer (finish reason "${this.#finishReason.slice(0, 40)}").`, null,
          `finish reason ${/^[a-z_]{1,40}$/.test(this.#finishReason) ? this.#finishReason : 'unknown'}`,
        )
    }
  }

  #choice(choice: JsonObject): void {
    // A server that ignores `stream` sends the whole message.
    const delta = isObject(choice['delta']) ? choice['delta'] : choice['message']
    if (isObject(delta)) this.#delta(delta, choice['logprobs'])
    const reason = choice['finish_reason']
    if (typeof reason === 'string' && reason !== '') {
      this.#finishReason = reason
      this.firstOutput = true
    }
  }

  #delta(delta: JsonObject, logprobs: JsonValue | undefined): void {
    let output = false
    const reasoning = firstText(delta['reasoning'], delta['reasoning_content'])
    if (reasoning !== '') {
      output = true
      this.assembly.reasoning(reasoning)
    }
    const text = contentText(delta['content'])
    if (text !== '') {
      output = true
      this.assembly.text(text, logprobsFromChat(logprobs))
    }
    if (typeof delta['refusal'] === 'string' && delta['refusal'] !== '') {
      output = true
      this.assembly.refusal(delta['refusal'])
    }
    if (Array.isArray(delta['tool_calls'])) {
      for (const call of delta['tool_calls'] as readonly JsonValue[]) output = this.#toolCall(call) || output
    } else if (isObject(delta['function_call'])) {
      output = this.#toolCall({ index: 0, function: delta['function_call'] }) || output
    }
    if (output) {
      this.firstOutput = true
      this.counted += 1
    }
  }

  #toolCall(call: JsonValue): boolean {
    const part = this.#slots.read(call)
    if (part === null) return false
    this.assembly.toolCall(part.slot, part)
    return true
  }
}

const firstText = (first: JsonValue | undefined, second: JsonValue | undefined): string =>
  typeof first === 'string' && first !== '' ? first : typeof second === 'string' ? second : ''

/** Content is a string almost everywhere; some servers send typed parts. */
function contentText(content: JsonValue | undefined): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  let text = ''
  for (const part of content as readonly JsonValue[]) {
    if (isObject(part) && typeof part['text'] === 'string') text += part['text']
  }
  return text
}
