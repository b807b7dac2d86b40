import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { projectRoot } from '../house/root.ts'

export const PAGE_FOLDER = join(projectRoot(), 'dashboard')

/** A module of the page, as the browser loads it: it is plain JavaScript, so its shape is told here by whoever tests it. */
export const pageModule = async <Shape>(name: string): Promise<Shape> => (await import(pathToFileURL(join(PAGE_FOLDER, name)).href)) as Shape
