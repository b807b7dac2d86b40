import { join } from 'node:path'
import { loadFingerprintModel } from '../../src/fingerprint/fingerprint-model.ts'
import { projectRoot } from '../house/root.ts'

export const modelPath = join(projectRoot(), 'assets/fingerprint/model.homing')
/** The shipped model; its buffers are reused, so tests of one file run one after the other. */
export const shipped = loadFingerprintModel(modelPath)
