/** A progress bar on a terminal, one line a step elsewhere; at most ten updates a second. */
export type Progress = { update(done: number, total: number, what: string): void; end(): void }

const BAR_CELLS = 24
const UPDATE_MS = 100

export const newProgress = (
  stream: { readonly isTTY?: boolean; write(text: string): unknown },
  nowMs: () => number,
): Progress => {
  let shownAtMs = Number.NEGATIVE_INFINITY
  let shownWhat = ''
  let width = 0
  return {
    update: (done, total, what) => {
      if (stream.isTTY !== true) {
        if (what !== shownWhat) stream.write(`${what} ...\n`)
        shownWhat = what
        return
      }
      if (nowMs() - shownAtMs < UPDATE_MS) return
      shownAtMs = nowMs()
      const share = total === 0 ? 1 : done / total
      const full = Math.round(share * BAR_CELLS)
      const text = `[${'#'.repeat(full)}${'-'.repeat(BAR_CELLS - full)}] ${(100 * share).toFixed(0).padStart(3)} %  ${what}`
      stream.write(`\r${text.padEnd(width)}`)
      width = text.length
    },
    end: () => {
      if (stream.isTTY === true && width > 0) stream.write(`\r${' '.repeat(width)}\r`)
    },
  }
}
