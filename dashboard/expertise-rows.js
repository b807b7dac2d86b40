/** Rows of the table of expertise: which are shown, in which order. */

/** What the columns are sorted by. Words up, figures down at first: the best, the surest, the latest on top. */
export const SORTS = {
  tenant: { of: (row) => row.tenant ?? '', first: 'ascending' },
  model: { of: (row) => row.model, first: 'ascending' },
  topic: { of: (row) => row.topic ?? '', first: 'ascending' },
  mean: { of: (row) => row.mean, first: 'descending' },
  interval: { of: (row) => row.high - row.low, first: 'ascending' },
  observations: { of: (row) => row.observations, first: 'descending' },
  last_change: { of: (row) => row.last_change ?? 0, first: 'descending' },
}

/** A press on the column that sorts already turns it round. */
export function sortedAfterPress(sort, key) {
  if (sort.key !== key) return { key, direction: SORTS[key].first }
  return { key, direction: sort.direction === 'ascending' ? 'descending' : 'ascending' }
}

const words = new Intl.Collator('en', { numeric: true })
const compare = (a, b) => (typeof a === 'number' ? a - b : words.compare(a, b))

/** @param {{ tenant: string | null, words: string }} filter `tenant` null: all; `words`: in the names of model or topic, all of them */
export function rowsShown(rows, filter, sort) {
  const wanted = filter.words.toLowerCase().split(/\s+/).filter((word) => word !== '')
  const { of } = SORTS[sort.key]
  const way = sort.direction === 'ascending' ? 1 : -1
  return rows
    .filter((row) => filter.tenant === null || (row.tenant ?? '') === filter.tenant)
    .filter((row) => {
      const name = `${row.model} ${row.topic ?? 'all topics'}`.toLowerCase()
      return wanted.every((word) => name.includes(word))
    })
    .sort((a, b) => way * compare(of(a), of(b)) || words.compare(a.model, b.model) || words.compare(a.topic ?? '', b.topic ?? ''))
}

/** Names of those whose cells there are; one alone needs no filter. */
export const tenantsOf = (rows) => [...new Set(rows.map(({ tenant }) => tenant ?? ''))].sort(words.compare)

/** What the route takes: more would never be outweighed by what is seen. */
export const MOST_OUTCOMES = 1000

/** Null: it can be sent. @returns {string | null} */
export function wrongEdit(mean, observations) {
  if (!(mean >= 0 && mean <= 1)) return 'The expected quality is a number from 0 to 1.'
  if (!(observations >= 1 && observations <= MOST_OUTCOMES)) return `Say as how many outcomes your word counts: 1 to ${MOST_OUTCOMES}.`
  return null
}
