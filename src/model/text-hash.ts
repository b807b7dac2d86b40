/** FNV-1a (Fowler, Noll, Vo), 32 bits, over UTF-16 units: a signed number. For marks and places in tables, not against an adversary. */
export function fnv1a(text: string, from = FNV_OFFSET): number {
  let hash = from
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), FNV_PRIME)
  return hash
}

export const FNV_OFFSET = 0x811c9dc5
const FNV_PRIME = 0x01000193
