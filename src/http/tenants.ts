/**
 * API keys -> who is asking. Keys are compared by their SHA-256 in constant time, and every key is compared every time,
 * so the time says nothing about which key came close.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { HomingError } from '../model/error.ts'

export type Caller = { readonly tenant: string; readonly admin: boolean }

export type TenantKeys = { readonly id: string; readonly keys: readonly string[] }

/** The one tenant of an open gateway. */
export const OPEN_TENANT = 'default'

/** Of admin keys that are no tenant's; no tenant can be configured under this name. */
export const ADMIN_TENANT = '(admin)'

const digest = (key: string): Buffer => createHash('sha256').update(key).digest()

export class Tenants {
  readonly #keys: { readonly digest: Buffer; readonly tenant: string }[] = []
  readonly #adminKeys: Buffer[] = []
  readonly #open: boolean
  readonly #adminNeedsKey: boolean

  constructor(options: {
    readonly tenants: readonly TenantKeys[]
    readonly adminKeys: readonly string[]
    readonly loopback: boolean
  }) {
    for (const tenant of options.tenants)
      for (const key of tenant.keys) this.#keys.push({ digest: digest(key), tenant: tenant.id })
    this.#adminKeys = options.adminKeys.map(digest)
    this.#open = options.tenants.length === 0
    this.#adminNeedsKey = !this.#open || !options.loopback || this.#adminKeys.length > 0
  }

  /** Throws 401. An admin key is a caller of its own tenant too, so that an operator can try a turn. */
  authenticate(request: IncomingMessage): Caller {
    const key = bearer(request)
    if (this.#open) return { tenant: OPEN_TENANT, admin: !this.#adminNeedsKey || this.#isAdmin(key) }
    if (key === null) throw new HomingError('unauthorized')
    const asked = digest(key)
    let tenant: string | null = null
    for (const known of this.#keys) if (timingSafeEqual(known.digest, asked)) tenant = known.tenant
    const admin = this.#isAdmin(key)
    if (tenant === null && !admin) throw new HomingError('unauthorized')
    return { tenant: tenant ?? ADMIN_TENANT, admin }
  }

  #isAdmin(key: string | null): boolean {
    if (key === null) return false
    const asked = digest(key)
    let admin = false
    for (const known of this.#adminKeys) if (timingSafeEqual(known, asked)) admin = true
    return admin
  }
}

function bearer(request: IncomingMessage): string | null {
  const header = request.headers.authorization
  if (header !== undefined) {
    const match = /^Bearer\s+(\S+)\s*$/i.exec(header)
    if (match !== null) return match[1]!
  }
  const other = request.headers['x-api-key'] ?? request.headers['api-key']
  return typeof other === 'string' && other !== '' ? other : null
}
