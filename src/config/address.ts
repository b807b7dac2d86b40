import { isIP } from 'node:net'
import { describe } from './place.ts'
import type { Reader } from './place.ts'

export type Listen = { readonly host: string; readonly port: number }

/** `HOST:PORT`, `[::1]:PORT`, or a port alone on 127.0.0.1. Port 0 takes a free one. */
export const listenAddress: Reader<Listen> = (value, place) => {
  const given = typeof value === 'number' ? String(value) : value
  if (typeof given !== 'string') return place.problem(`expected HOST:PORT, but got ${describe(value)}`)
  const match = /^(?:(\[[^\]]+\]|[^:\s[\]]*):)?(\d{1,5})$/.exec(given.trim())
  const port = Number(match?.[2])
  if (match === null || port > 65_535) return place.problem(`'${given}' is not HOST:PORT, such as 127.0.0.1:8787`)
  const named = match[1] ?? '127.0.0.1'
  const host = named.replace(/^\[(.*)\]$/, '$1')
  if (host === '') return place.problem(`'${given}' names no host; use 127.0.0.1${given} or 0.0.0.0${given}`)
  if (named.startsWith('[') && isIP(host) !== 6) return place.problem(`'${host}' is not an IPv6 address`)
  return { host, port }
}

/** Only this machine can reach it. */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase()
  if (name === 'localhost' || name === '::1' || name === '0:0:0:0:0:0:0:1') return true
  const address = name.startsWith('::ffff:') ? name.slice(7) : name
  return isIP(address) === 4 && address.startsWith('127.')
}

/** A base URL with or without `/v1`; read as the URL without a trailing slash and without `/v1`, path prefix kept. */
export const backendUrl: Reader<string> = (value, place) => {
  if (typeof value !== 'string') return place.problem(`expected a URL, but got ${describe(value)}`)
  const given = value.trim()
  const url = URL.canParse(given) ? new URL(given) : null
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    const guess = `http://${given}`
    const hint = !given.includes('//') && URL.canParse(guess) ? `; did you mean '${guess}'?` : ''
    return place.problem(`'${given}' is not an http:// or https:// URL${hint}`)
  }
  if (url.username !== '' || url.password !== '') return place.problem("holds credentials; put them into 'key'")
  if (url.search !== '' || url.hash !== '') return place.problem('has a query or fragment; a base URL has none')
  const path = url.pathname.replace(/\/+$/, '').replace(/\/v1$/, '').replace(/\/+$/, '')
  return url.origin + path
}

/** The default id of a backend: `host:port`, the port also where the URL leaves it out. */
export function hostAndPort(baseUrl: string): string {
  const url = new URL(baseUrl)
  return `${url.hostname}:${url.port !== '' ? url.port : url.protocol === 'https:' ? '443' : '80'}`
}
