/** Loads a plain JavaScript module of scripts/ from wherever the tests were compiled to. */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const projectRoot = (): string => {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'scripts', 'start.mjs'))) {
    const parent = dirname(folder)
    if (parent === folder) throw new Error('scripts/ is not above the compiled tests')
    folder = parent
  }
  return folder
}

export const scriptPath = (name: string): string => join(projectRoot(), 'scripts', name)

export const loadScript = async <Module>(name: string): Promise<Module> =>
  (await import(pathToFileURL(scriptPath(name)).href)) as Module
