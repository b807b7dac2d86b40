/** Query parameters of list routes, as the API documents them. */
import { HomingError } from '../model/error.ts'
import type { JsonObject } from '../model/json.ts'

export type Page = { readonly after: string | null; readonly limit: number; readonly order: 'asc' | 'desc' }

export function readPage(query: URLSearchParams): Page {
  const limitText = query.get('limit')
  const limit = limitText === null ? 20 : Number(limitText)
  if (!Number.isInteger(limit) || limit < 1 || limit > 100)
    throw new HomingError('invalid_value', { param: 'limit', why: 'expected an integer from 1 to 100' })
  const order = query.get('order') ?? 'desc'
  if (order !== 'asc' && order !== 'desc')
    throw new HomingError('invalid_value', { param: 'order', why: "expected 'asc' or 'desc'" })
  return { after: query.get('after'), limit, order }
}

export function listOf(data: readonly JsonObject[], hasMore: boolean): JsonObject {
  return {
    object: 'list',
    data,
    first_id: (data[0]?.['id'] as string | undefined) ?? null,
    last_id: (data.at(-1)?.['id'] as string | undefined) ?? null,
    has_more: hasMore,
  }
}

/** One page of an ordered list of ids; throws 400 for an `after` that is not in it. */
export function pageOf(
  ids: readonly string[],
  page: Page,
): { readonly ids: readonly string[]; readonly hasMore: boolean } {
  const ordered = page.order === 'asc' ? ids : ids.toReversed()
  const start = page.after === null ? 0 : ordered.indexOf(page.after) + 1
  if (page.after !== null && start === 0) throw unknownAfter(page.after)
  return { ids: ordered.slice(start, start + page.limit), hasMore: start + page.limit < ordered.length }
}

export const unknownAfter = (after: string): HomingError =>
  new HomingError('invalid_value', { param: 'after', why: `there is no item '${after.slice(0, 128)}' in this list` })
