import type { JsonObject } from './json.ts'

/** One event of a Responses stream; `sequence_number` is added when it is written. */
export type ResponseEvent = JsonObject & { readonly type: string }
