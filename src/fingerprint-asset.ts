import { join } from 'node:path'
import { packageRoot } from './package-root.ts'

/** The shipped model. */
export const fingerprintAssetPath = (): string => join(packageRoot(), 'assets/fingerprint/model.homing')
