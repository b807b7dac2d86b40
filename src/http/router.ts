/**
 * The route table: method and path pattern -> handler. `{name}` matches one segment. Patterns are few and fixed, so they
 * are compiled once into one map a segment count; unknown paths are 404, known paths with another method 405.
 */
import { HomingError } from '../model/error.ts'

export type Params = Readonly<Record<string, string>>
type Route<Handler> = { readonly segments: readonly string[]; readonly handlers: Map<string, Handler> }

export class Router<Handler> {
  readonly #exact = new Map<string, Route<Handler>>()
  readonly #patterns: Route<Handler>[] = []

  on(method: string, pattern: string, handler: Handler): this {
    const segments = pattern.split('/')
    const key = segments.join('/')
    const isPattern = key.includes('{')
    let route = isPattern ? this.#patterns.find((known) => known.segments.join('/') === key) : this.#exact.get(key)
    if (route === undefined) {
      route = { segments, handlers: new Map() }
      if (isPattern) this.#patterns.push(route)
      else this.#exact.set(key, route)
    }
    route.handlers.set(method, handler)
    return this
  }

  find(method: string, path: string): { readonly handler: Handler; readonly params: Params } {
    const exact = this.#exact.get(path)
    if (exact !== undefined) return { handler: pick(exact, method), params: {} }
    const segments = path.split('/')
    for (const route of this.#patterns) {
      const params = match(route.segments, segments)
      if (params !== null) return { handler: pick(route, method), params }
    }
    throw new HomingError('unknown_url', { method, path: path.slice(0, 200) })
  }
}

function pick<Handler>(route: Route<Handler>, method: string): Handler {
  // what can be got can be asked for its head; node:http leaves the body out
  const handler = route.handlers.get(method) ?? (method === 'HEAD' ? route.handlers.get('GET') : undefined)
  if (handler === undefined)
    throw new HomingError('method_not_allowed', { method, allowed: [...route.handlers.keys()].join(', ') })
  return handler
}

function match(pattern: readonly string[], segments: readonly string[]): Params | null {
  if (pattern.length !== segments.length) return null
  const params: Record<string, string> = {}
  for (let i = 0; i < pattern.length; i++) {
    const part = pattern[i]!
    const segment = segments[i]!
    if (part.startsWith('{')) {
      if (segment === '') return null
      try {
        params[part.slice(1, -1)] = decodeURIComponent(segment)
      } catch {
        return null // not a valid path, so it names nothing
      }
    } else if (part !== segment) return null
  }
  return params
}
