/**
 * The client's own name for its session, from its headers. Explicit session headers first, then what known agents send
 * by themselves. Never `Authorization` and never a per-request id: one would make a tenant one session, the other would
 * make each request its own.
 */
import type { IncomingHttpHeaders } from 'node:http'

const EXPLICIT = ['x-homing-session', 'x-session-id', 'x-session-affinity'] as const
/** Claude Code; Codex (session-id, thread-id); others after llm-d's list of agent identities. */
const AGENT = ['x-claude-code-session-id', 'session-id', 'session_id', 'thread-id'] as const
const MAX_LENGTH = 256

export function sessionHint(headers: IncomingHttpHeaders): string | null {
  const explicit = first(headers, EXPLICIT)
  if (explicit !== null) return `header:${explicit}`
  const agent = first(headers, AGENT)
  return agent === null ? null : `agent:${agent}`
}

function first(headers: IncomingHttpHeaders, names: readonly string[]): string | null {
  for (const name of names) {
    const value = headers[name]
    if (typeof value === 'string' && value !== '' && value.length <= MAX_LENGTH) return value
  }
  return null
}
