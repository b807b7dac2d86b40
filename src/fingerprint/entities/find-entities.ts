/**
 * The entities of one text: rules for what has a form (technical names, dates, amounts), then the name tagger for what has
 * none. Long texts are read at both ends, like everything else of a fingerprint; offsets are those of the whole text.
 */
import { findCalendar } from './calendar.ts'
import { findMoney, findNumbers } from './quantities.ts'
import { Spans, type EntitySpan } from './spans.ts'
import { findTechnical } from './technical.ts'

/** Finds names in what the rules left. */
export interface NameFinder {
  find(spans: Spans): void
}

const HEAD_CHARACTERS = 5000
const TAIL_CHARACTERS = 2500

export function findEntities(text: string, names: NameFinder | null): readonly EntitySpan[] {
  if (text.length <= HEAD_CHARACTERS + TAIL_CHARACTERS) return within(text, names)
  const tailAt = text.length - TAIL_CHARACTERS
  const tail = within(text.slice(tailAt), names)
  return [
    ...within(text.slice(0, HEAD_CHARACTERS), names),
    ...tail.map(({ type, start, end }) => ({ type, start: start + tailAt, end: end + tailAt })),
  ]
}

function within(text: string, names: NameFinder | null): readonly EntitySpan[] {
  const spans = new Spans(text)
  findTechnical(spans)
  findMoney(spans)
  findCalendar(spans)
  // a name may hold a number word ("Three Rivers"), so names come first
  names?.find(spans)
  findNumbers(spans)
  return spans.sorted
}
