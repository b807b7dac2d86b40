/** The page for people. A gateway whose package lost it serves turns all the same, and says so once. */
import { join } from 'node:path'
import type { Logger } from 'pino'
import type { Handler } from '../http/call.ts'
import { dashboardRoutes, readDashboard } from '../http/dashboard-routes.ts'
import type { Router } from '../http/router.ts'
import { packageRoot } from '../package-root.ts'

/** True where there is one. */
export function addDashboard(router: Router<Handler>, log: Logger): boolean {
  const folder = join(packageRoot(), 'dashboard')
  try {
    dashboardRoutes(router, readDashboard(folder))
    return true
  } catch (error) {
    log.warn({ err: error, folder }, 'there is no dashboard: its files cannot be read')
    return false
  }
}
