import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import type { Handler } from '../../src/http/call.ts'
import { dashboardRoutes, readDashboard } from '../../src/http/dashboard-routes.ts'
import { Router } from '../../src/http/router.ts'
import { createDoor } from '../../src/http/server.ts'
import { TenantLimits } from '../../src/http/tenant-limits.ts'
import { Tenants } from '../../src/http/tenants.ts'
import { projectRoot } from '../house/root.ts'

const FILES = { 'index.html': '<!doctype html><title>Homing</title>', 'main.js': 'export {}', 'style.css': 'p {}', 'icon.svg': '<svg/>', 'notes.md': 'not for the page', '.env': 'SECRET=1' }

/** A gateway that asks everybody for a key. */
async function served(t: TestContext): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'homing-dashboard-'))
  t.after(() => rmSync(folder, { recursive: true }))
  for (const [name, text] of Object.entries(FILES)) writeFileSync(join(folder, name), text)
  mkdirSync(join(folder, 'below.js'))
  const router = new Router<Handler>()
  dashboardRoutes(router, readDashboard(folder))
  const server = createDoor({
    router,
    tenants: new Tenants({ tenants: [{ id: 'acme', keys: ['a'] }], adminKeys: ['op'], loopback: true }),
    limits: new TenantLimits(() => ({ concurrency: null, requestsPerMinute: null, tokensPerMinute: null, tokensCounted: 'all' }), () => 0),
    bodyLimitBytes: 10_000, newRequestId: () => 'req_1', wallMs: () => 0, nowMs: () => 0, observe: () => {}, closing: () => false,
    onBug: (_, error) => assert.fail(String(error)),
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => new Promise((resolve) => {
    server.close(resolve)
    server.closeAllConnections()
  }))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** The path as it is: fetch would tidy it up. */
const status = (base: string, path: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(base)
    httpRequest({ hostname, port, path }, (response) => {
      response.resume()
      resolve(response.statusCode!)
    }).on('error', reject).end()
  })

test('the page, its style and its modules are served to everybody, under their own types', async (t) => {
  const base = await served(t)
  for (const [path, type, text] of [
    ['/homing/', 'text/html; charset=utf-8', FILES['index.html']],
    ['/homing/main.js', 'text/javascript; charset=utf-8', FILES['main.js']],
    ['/homing/style.css', 'text/css; charset=utf-8', FILES['style.css']],
    ['/homing/icon.svg', 'image/svg+xml', FILES['icon.svg']],
  ] as const) {
    const answer = await fetch(base + path)
    assert.deepEqual([answer.status, answer.headers.get('content-type'), await answer.text()], [200, type, text])
    const head = await fetch(base + path, { method: 'HEAD' })
    assert.deepEqual([head.status, head.headers.get('content-length')], [200, String(text.length)])
  }
})

test('the page may load nothing from elsewhere, be framed by nobody and turn no text into markup', async (t) => {
  const { headers } = await fetch(`${await served(t)}/homing/`)
  const policy = headers.get('content-security-policy')!.split('; ')
  for (const part of ["default-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'"]) {
    assert.ok(policy.includes(part), part)
  }
  assert.equal(policy.filter((part) => part.includes('unsafe')).length, 0)
  assert.deepEqual([headers.get('x-content-type-options'), headers.get('referrer-policy')], ['nosniff', 'no-referrer'])
})

test('what a browser knows already is not sent again; another version is', async (t) => {
  const url = `${await served(t)}/homing/main.js`
  const first = await fetch(url)
  const etag = first.headers.get('etag')!
  assert.match(etag, /^"[\w-]{22}"$/)
  assert.equal(first.headers.get('cache-control'), 'no-cache')
  for (const known of [etag, `W/${etag}`, `"other", ${etag}`]) {
    const again = await fetch(url, { headers: { 'if-none-match': known } })
    assert.deepEqual([again.status, await again.text(), again.headers.get('etag')], [304, '', etag])
  }
  assert.equal((await fetch(url, { headers: { 'if-none-match': '"other"' } })).status, 200)
  assert.notEqual((await fetch(`${url.slice(0, -7)}style.css`)).headers.get('etag'), etag)
})

test('the folder without its slash leads to the folder, below whatever prefix a proxy put it', async (t) => {
  const answer = await fetch(`${await served(t)}/homing?x=1`, { redirect: 'manual' })
  assert.deepEqual([answer.status, answer.headers.get('location')], [308, 'homing/'])
})

test('nothing else can be had by it: no other kind of file, no folder, no path that leaves it, no other method', async (t) => {
  const base = await served(t)
  for (const path of [
    '/homing/notes.md', '/homing/.env', '/homing/below.js', '/homing/index.html', '/homing/nothing.js', '/homing/../package.json', '/homing/..%2fpackage.json', '/homing/%2e%2e/package.json',
    '/homing/..\\package.json', '/homing//etc/passwd', '/homing/main.js%00.css', '/homing/./main.js', '/homing/MAIN.JS', '/homing/main.js/main.js',
  ]) {
    assert.equal(await status(base, path), 404, path)
  }
  assert.equal((await fetch(`${base}/homing/main.js`, { method: 'POST' })).status, 405)
})

test('a package that lost the page has no dashboard', () => {
  assert.throws(() => readDashboard(join(tmpdir(), 'homing-there-is-no-such-folder')), { code: 'ENOENT' })
})

test('the shipped page is below 100 KB, and package.json ships it', async () => {
  const files = readDashboard(join(projectRoot(), 'dashboard'))
  const bytes = files.reduce((sum, file) => sum + file.bytes.length, 0)
  assert.ok(bytes < 100_000, `${bytes} bytes`)
  const { default: manifest } = (await import(join(projectRoot(), 'package.json'), { with: { type: 'json' } })) as { default: { files: string[] } }
  assert.ok(manifest.files.includes('dashboard'))
})
