/** What an outcome changed: the rows of expertise of a model before and after it. */

const keyOf = ({ tenant, topic }) => JSON.stringify([tenant, topic])

/** Figures are told with four digits; less is what passing time does to them. */
const LEAST_CHANGE = 0.0005
/** Topics that are alike learn a little of each other: the first few tell the story. */
const MOST_ROWS = 5

/**
 * @param {readonly object[]} before rows of GET /homing/v1/expertise?model=... @param {readonly object[]} after
 * @param {readonly string[]} topics of the conversation, the likeliest first: these come first, then the largest changes
 */
export function changesBetween(before, after, topics) {
  const known = new Map(before.map((row) => [keyOf(row), row]))
  const place = ({ topic }) => (topics.includes(topic) ? topics.indexOf(topic) : topic === null ? topics.length : topics.length + 1)
  return after
    .map((row) => ({ topic: row.topic, tenant: row.tenant, before: known.get(keyOf(row)) ?? null, after: row }))
    .filter(({ before: was, after: is }) => was === null || Math.abs(is.mean - was.mean) >= LEAST_CHANGE || Math.abs(width(is) - width(was)) >= LEAST_CHANGE)
    .sort((a, b) => place(a) - place(b) || moved(b) - moved(a))
    .slice(0, MOST_ROWS)
}

const width = ({ low, high }) => high - low

const moved = ({ before, after }) => (before === null ? 1 : Math.abs(after.mean - before.mean))
