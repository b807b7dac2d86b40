/**
 * Reads chosen samples out of a Prometheus text page in one pass, without building the rest: an engine's page has a
 * thousand lines of histograms, of which a handful is wanted. A line that cannot be read is skipped.
 */
export type Sample = { readonly labels: string; readonly value: number }

export function readSamples(page: string, wanted: ReadonlySet<string>): ReadonlyMap<string, readonly Sample[]> {
  const found = new Map<string, Sample[]>()
  let start = 0
  while (start < page.length) {
    let end = page.indexOf('\n', start)
    if (end === -1) end = page.length
    if (page.charCodeAt(start) !== 35 /* # */) readLine(page.slice(start, end), wanted, found)
    start = end + 1
  }
  return found
}

function readLine(line: string, wanted: ReadonlySet<string>, found: Map<string, Sample[]>): void {
  const nameEnd = line.search(/[{ \t]/)
  if (nameEnd <= 0 || !wanted.has(line.slice(0, nameEnd))) return
  const labelled = line[nameEnd] === '{'
  const labelsEnd = labelled ? line.lastIndexOf('}') : nameEnd
  if (labelsEnd === -1) return
  const value = Number.parseFloat(line.slice(labelsEnd + 1).trim())
  if (!Number.isFinite(value)) return
  const name = line.slice(0, nameEnd)
  const sample = { labels: labelled ? line.slice(nameEnd + 1, labelsEnd) : '', value }
  const samples = found.get(name)
  if (samples === undefined) found.set(name, [sample])
  else samples.push(sample)
}

/** The value of one label in the text between the braces. Escapes do not occur in the labels read here. */
export function label(labels: string, name: string): string | null {
  return new RegExp(`(?:^|,)\\s*${name}="([^"]*)"`).exec(labels)?.[1] ?? null
}

/** Sum over all label sets, null when there is no sample. */
export function sum(samples: readonly Sample[] | undefined): number | null {
  return samples === undefined ? null : samples.reduce((total, sample) => total + sample.value, 0)
}
