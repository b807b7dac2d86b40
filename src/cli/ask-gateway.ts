/** One question to a running gateway: its answer, or in a sentence why there is none. */
import { request } from 'undici'
import { isObject, type JsonObject } from '../model/json.ts'
import { textOption, UsageError, type CommandInput, type OptionSpec, type Terminal } from './command.ts'

const DEFAULT_URL = 'http://127.0.0.1:8787'

export const GATEWAY_OPTIONS: Readonly<Record<'url' | 'key', OptionSpec>> = {
  url: { type: 'string', value: 'BASE', help: `where the gateway runs; default ${DEFAULT_URL}` },
  key: { type: 'string', value: 'KEY', help: 'API key; default: the environment variable HOMING_API_KEY' },
}

export async function askGateway(path: string, input: CommandInput, terminal: Terminal): Promise<JsonObject | string> {
  const base = (textOption(input, 'url') ?? DEFAULT_URL).replace(/\/+$/, '').replace(/\/v1$/, '')
  if (!/^https?:\/\//.test(base) || !URL.canParse(base)) {
    throw new UsageError(`'${base}' is not an http:// or https:// URL`)
  }
  const key = textOption(input, 'key') ?? terminal.env['HOMING_API_KEY']
  const { origin } = new URL(base)
  let status: number
  let body: unknown
  try {
    const headers = key === undefined ? {} : { authorization: `Bearer ${key}` }
    const answer = await request(`${base}${path}`, { headers, signal: AbortSignal.timeout(10_000) })
    status = answer.statusCode
    body = await answer.body.json().catch(() => null)
  } catch (cause) {
    const error = cause as NodeJS.ErrnoException
    const why = error.code === 'ECONNREFUSED' ? 'nothing listens there' : error.message
    return `no answer from ${origin}: ${why}; --url says where the gateway runs`
  }
  if (status === 200 && isObject(body)) return body
  const error = isObject(body) && isObject(body['error']) ? body['error']['message'] : null
  if (typeof error === 'string') return error
  return `${origin} answered ${status}, but not as Homing does; --url says where the gateway runs`
}
