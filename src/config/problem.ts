/** One thing that is wrong in a configuration. `path` reads like `backends[1].protocol`, or names a flag. */
export type ConfigProblem = { readonly path: string; readonly message: string; readonly line: number | null }

/** All that is wrong in a configuration, at once. */
export class ConfigError extends Error {
  readonly problems: readonly ConfigProblem[]
  /** The file, null when there was none. */
  readonly source: string | null

  constructor(problems: readonly ConfigProblem[], source: string | null) {
    super(problems.map((problem) => formatProblem(problem, source)).join('\n'))
    this.name = 'ConfigError'
    this.problems = problems
    this.source = source
  }
}

/** `homing.yaml:12: backends[1].protcol: unknown key; did you mean 'protocol'?` */
export function formatProblem(problem: ConfigProblem, source: string | null): string {
  const where = source === null ? '' : problem.line === null ? `${source}: ` : `${source}:${problem.line}: `
  return where + (problem.path === '' ? '' : `${problem.path}: `) + problem.message
}
