/** Runs `task` once after `delayMs`; the returned function calls it off. */
export type After = (delayMs: number, task: () => void) => () => void

/** The real thing; a waiting task does not keep the process alive. */
export const systemAfter: After = (delayMs, task) => {
  const timer = setTimeout(task, delayMs)
  timer.unref()
  return () => clearTimeout(timer)
}
