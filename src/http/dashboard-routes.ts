/**
 * The dashboard: a page, its style and its modules, as they lie in the folder `dashboard`. They are the same for everybody and hold no
 * data, so they ask for no key; what the page shows comes from the JSON routes, with the key that the viewer types.
 *
 * The files are read once, at the start, and each is a route of its own: no path of a request ever reaches a disk. Some ten files,
 * below 100 KB together.
 *
 * The page may load nothing from elsewhere, be shown inside no other page, send no form, and turn no text into markup: names of models,
 * answers and errors are others' words.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { extname, join } from 'node:path'
import type { Call, Handler } from './call.ts'
import type { Router } from './router.ts'

export type DashboardFile = { readonly name: string; readonly contentType: string; readonly bytes: Buffer; readonly etag: string }

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}
const PAGE = 'index.html'

const HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  // another version of the gateway brings another page under the same name: asked again each time, answered by 304
  'cache-control': 'no-cache',
}

/** Throws where the folder or its page cannot be read. Files of other kinds are left out. */
export function readDashboard(folder: string): readonly DashboardFile[] {
  readFileSync(join(folder, PAGE))
  return readdirSync(folder).flatMap((name) => {
    const contentType = CONTENT_TYPES[extname(name)]
    const path = join(folder, name)
    if (contentType === undefined || !statSync(path).isFile()) return []
    const bytes = readFileSync(path)
    const etag = `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`
    return [{ name, contentType, bytes, etag }]
  })
}

export function dashboardRoutes(router: Router<Handler>, files: readonly DashboardFile[]): void {
  const on = (path: string, handle: (call: Call) => Promise<void>): void => {
    router.on('GET', path, { access: 'public', limited: false, name: 'dashboard', handle })
  }
  for (const file of files) {
    if (file.name !== PAGE) on(`/homing/${file.name}`, async (call) => send(file, call))
    else on('/homing', async (call) => (pathOf(call).endsWith('/') ? send(file, call) : sendOn(call)))
  }
}

function send({ contentType, bytes, etag }: DashboardFile, { request, sink }: Call): void {
  if (knows(request.headers['if-none-match'], etag)) {
    sink.head(304, { ...HEADERS, etag })
    return sink.end()
  }
  sink.head(200, { ...HEADERS, etag, 'content-type': contentType, 'content-length': String(bytes.length) })
  sink.end(bytes)
}

/** The page's own links are relative to the folder. So is this one: a proxy may have put the gateway below a prefix. */
function sendOn({ sink }: Call): void {
  sink.head(308, { ...HEADERS, location: 'homing/', 'content-length': '0' })
  sink.end()
}

const pathOf = ({ request }: Call): string => (request.url ?? '/').split('?', 1)[0]!

/** A proxy that compresses makes an etag weak; the bytes are still these. */
const knows = (asked: string | undefined, etag: string): boolean =>
  asked !== undefined && asked.split(',').some((each) => [etag, `W/${etag}`, '*'].includes(each.trim()))
