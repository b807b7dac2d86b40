/**
 * Content of a message or of a tool's output -> an array of parts, in the vocabulary of the Responses API.
 * `text`, `input_text` and `output_text` mean the same thing and take the name that fits the role, so that one
 * conversation has one form whoever wrote it. A part that is already in its form is kept as the same object.
 */
import { isObject } from '../model/json.ts'
import type { JsonObject, JsonValue } from '../model/json.ts'
import { isArray, listed, optionalString, requireString, wrongType, wrongValue } from './parse-checks.ts'

export const inputText = (text: string): JsonObject => ({ type: 'input_text', text })
export const outputText = (text: string): JsonObject => ({ type: 'output_text', text, annotations: [], logprobs: [] })

const INPUT_PARTS = ['input_text', 'input_image', 'input_file']
const ASSISTANT_PARTS = ['output_text', 'refusal']

/** `at` is the path of the content, such as `input[2].content`. */
export function normaliseContent(content: JsonValue | undefined, role: string, at: string): readonly JsonValue[] {
  const assistant = role === 'assistant'
  if (typeof content === 'string') return [assistant ? outputText(content) : inputText(content)]
  if (!isArray(content)) throw wrongType(at, 'a string or an array of content parts', content)
  return mapKept(content, (part, index) => {
    if (!isObject(part)) throw wrongType(`${at}[${index}]`, 'an object', part)
    return assistant ? assistantPart(part, `${at}[${index}]`) : inputPart(part, `${at}[${index}]`)
  })
}

/** The output of a tool: a string stays a string, parts are checked like a user's. */
export function normaliseToolOutput(output: JsonValue | undefined, at: string): JsonValue {
  if (typeof output === 'string') return output
  return normaliseContent(output, 'tool', at)
}

function inputPart(part: JsonObject, at: string): JsonObject {
  switch (part['type']) {
    case 'input_text':
      requireString(part, 'text', at)
      return part
    case 'text':
    case 'output_text':
      return { type: 'input_text', text: requireString(part, 'text', at) }
    case 'input_image':
      return imagePart(part, at)
    case 'input_file':
      optionalString(part, 'file_id', at)
      optionalString(part, 'file_data', at)
      optionalString(part, 'file_url', at)
      optionalString(part, 'filename', at)
      return part
    default:
      throw unknownPart(part, at, INPUT_PARTS)
  }
}

function assistantPart(part: JsonObject, at: string): JsonObject {
  switch (part['type']) {
    case 'output_text':
      requireString(part, 'text', at)
      if (isArray(part['annotations']) && isArray(part['logprobs'])) return part
      return { ...part, annotations: part['annotations'] ?? [], logprobs: part['logprobs'] ?? [] }
    case 'text':
    case 'input_text':
      return outputText(requireString(part, 'text', at))
    case 'refusal':
      requireString(part, 'refusal', at)
      return part
    default:
      throw unknownPart(part, at, ASSISTANT_PARTS)
  }
}

function imagePart(part: JsonObject, at: string): JsonObject {
  const url = part['image_url'] ?? null
  if (isObject(url)) {
    throw wrongValue(`${at}.image_url`, 'this is the shape of Chat Completions; give the URL itself as a string')
  }
  optionalString(part, 'image_url', at)
  optionalString(part, 'detail', at)
  const fileId = optionalString(part, 'file_id', at)
  if (url === null && fileId === null) throw wrongValue(at, "an 'input_image' needs 'image_url' or 'file_id'")
  return part
}

function unknownPart(part: JsonObject, at: string, known: readonly string[]): Error {
  const type = requireString(part, 'type', at)
  if (type === 'image_url') return wrongValue(`${at}.type`, "the Responses API calls this part 'input_image'")
  return wrongValue(`${at}.type`, `supported values are ${listed(known)}`)
}

/** `map`, but the same array when no entry changed. */
function mapKept(
  values: readonly JsonValue[],
  change: (value: JsonValue, index: number) => JsonValue,
): readonly JsonValue[] {
  let changed: JsonValue[] | null = null
  for (let index = 0; index < values.length; index++) {
    const before = values[index] as JsonValue
    const after = change(before, index)
    if (after !== before && changed === null) changed = values.slice(0, index)
    changed?.push(after)
  }
  return changed ?? values
}
