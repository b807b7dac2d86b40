/**
 * A stored item as the API shows it in a list or by itself. Items are stored as their writers sent them, and requests may
 * leave out what resources always have: a status, the detail of an image. Cost: O(parts), a copy only where one is missing.
 */
import type { StoredItem } from '../model/item.ts'
import { isObject, type JsonObject, type JsonValue } from '../model/json.ts'

export function itemResource(item: StoredItem): JsonObject {
  const { content, output } = item
  // Of a reasoning item the status is optional on both sides.
  const status = item['status'] ?? (item.type === 'reasoning' ? undefined : 'completed')
  return {
    ...item,
    ...(status !== undefined && { status }),
    ...(Array.isArray(content) && { content: (content as readonly JsonValue[]).map(partResource) }),
    ...(Array.isArray(output) && { output: (output as readonly JsonValue[]).map(partResource) }),
  }
}

function partResource(part: JsonValue): JsonValue {
  if (!isObject(part) || part['type'] !== 'input_image') return part
  return { ...part, image_url: part['image_url'] ?? null, detail: part['detail'] ?? 'auto' }
}
