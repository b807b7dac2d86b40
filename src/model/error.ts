/**
 * The one table of errors a client can meet: code -> status, type, message. Each has its row in docs/errors.md (a test
 * compares the two). `{name}` in a message is filled from `detail`.
 */
const TABLE = {
  invalid_json: [400, 'invalid_request_error', 'The body is not valid JSON: {why}.'],
  invalid_type: [
    400,
    'invalid_request_error',
    "Invalid type for '{param}': expected {expected}, but got {got} instead.",
  ],
  invalid_value: [400, 'invalid_request_error', "Invalid value for '{param}': {why}."],
  missing_required_parameter: [400, 'invalid_request_error', "Missing required parameter: '{param}'."],
  mutually_exclusive_parameters: [400, 'invalid_request_error', "'{param}' and '{other}' exclude each other."],
  unsupported_parameter: [400, 'invalid_request_error', "'{param}' is not supported: {why}."],
  unsupported_tool: [400, 'invalid_request_error', "The tool '{tool}' is not supported: {why}."],
  unsupported_item: [400, 'invalid_request_error', "Input item '{param}' of type '{type}' is not supported: {why}."],
  previous_response_not_found: [400, 'invalid_request_error', "Previous response with id '{id}' not found."],
  item_not_found: [400, 'invalid_request_error', "Item with id '{id}' not found."],
  context_length_exceeded: [
    400,
    'invalid_request_error',
    'The input needs about {needed} tokens; the largest context of a usable backend for this model is {available}.',
  ],
  nesting_too_deep: [400, 'invalid_request_error', 'The body is nested more than {limit} levels deep.'],
  too_many_items: [400, 'invalid_request_error', "'{param}' has {count} entries; the limit is {limit}."],
  context_too_long_for_backend: [400, 'invalid_request_error', '{why}'],
  backend_rejected: [400, 'invalid_request_error', '{why}'],
  unsupported_encoding: [
    415,
    'invalid_request_error',
    "Content-Encoding '{encoding}' is not supported; use gzip, deflate, br or zstd.",
  ],
  unauthorized: [401, 'authentication_error', 'Missing or unknown API key. Send it as "Authorization: Bearer KEY".'],
  forbidden: [403, 'permission_error', 'This key may not use {what}.'],
  response_not_found: [404, 'invalid_request_error', "Response with id '{id}' not found."],
  conversation_not_found: [404, 'invalid_request_error', "Conversation with id '{id}' not found."],
  conversation_item_not_found: [404, 'invalid_request_error', "Item with id '{id}' not found in this conversation."],
  model_not_found: [404, 'invalid_request_error', "The model '{model}' does not exist or no backend offers it."],
  backend_not_found: [404, 'invalid_request_error', "There is no backend '{id}'."],
  session_not_found: [404, 'invalid_request_error', "No cache is known for session '{id}'; it has not been answered here."],
  answer_not_found: [404, 'invalid_request_error', "There is no answer '{id}' that can be graded."],
  decision_not_found: [404, 'invalid_request_error', "There is no receipt for '{id}'."],
  unknown_url: [404, 'invalid_request_error', 'Unknown request URL: {method} {path}.'],
  method_not_allowed: [405, 'invalid_request_error', '{method} is not allowed here; use {allowed}.'],
  conflict: [409, 'invalid_request_error', '{why}'],
  request_too_large: [413, 'invalid_request_error', 'The body is larger than {limit} bytes.'],
  rate_limit_exceeded: [429, 'rate_limit_error', '{why}'],
  server_error: [
    500,
    'server_error',
    'Something went wrong inside the gateway. The log names the cause under this request id.',
  ],
  storage_error: [500, 'server_error', 'The answer could not be stored: {why}.'],
  backend_error: [502, 'server_error', '{why}'],
  quorum_missed: [502, 'server_error', '{answered} of {asked} models answered; the quorum is {quorum}.'],
  no_backend_available: [503, 'server_error', 'No usable backend for this request: {why}.'],
  shutting_down: [503, 'server_error', 'The gateway is shutting down.'],
} as const satisfies Record<string, readonly [number, string, string]>

export type ErrorCode = keyof typeof TABLE
export const ERROR_TABLE: Readonly<Record<ErrorCode, readonly [status: number, type: string, message: string]>> = TABLE

/** A refusal that a client is meant to see. */
export class HomingError extends Error {
  readonly code: ErrorCode
  readonly status: number
  readonly type: string
  readonly param: string | null
  readonly retryAfterSeconds: number | null

  constructor(
    code: ErrorCode,
    detail: Readonly<Record<string, string | number>> & { readonly param?: string } = {},
    options: { readonly retryAfterSeconds?: number; readonly status?: number; readonly cause?: unknown } = {},
  ) {
    const [status, type, template] = ERROR_TABLE[code]
    super(
      template.replace(/\{(\w+)\}/g, (_, name: string) => String(detail[name] ?? name)),
      { cause: options.cause },
    )
    this.name = 'HomingError'
    this.code = code
    this.status = options.status ?? status
    this.type = type
    this.param = detail.param ?? null
    this.retryAfterSeconds = options.retryAfterSeconds ?? null
  }

  /** OpenAI's envelope. */
  toBody(): { error: { message: string; type: string; param: string | null; code: string } } {
    return { error: { message: this.message, type: this.type, param: this.param, code: this.code } }
  }
}

/** What `registerCacheState` refuses; nothing was changed. Its status is 400 for bad values and 404 for unknown ids. */
export class InvalidCacheState extends HomingError {
  constructor(...parameters: ConstructorParameters<typeof HomingError>) {
    super(...parameters)
    this.name = 'InvalidCacheState'
  }
}
