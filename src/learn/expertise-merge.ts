/**
 * Takes a snapshot in, at start or from another replica: rows of evidence by their versions, settings by their times, kinds by
 * their age. Merging twice, or in any order, ends in the same.
 *
 *   row of a replica    the higher version holds; this replica's own only at start
 *   setting             the newer one holds; a reset that is news here is done here
 *   kinds               the oldest book holds everywhere; what was learned of the kinds of another book is dropped
 *
 * Solving takes a few hundred microseconds a model, so it belongs off the hot path.
 */
import type { SubjectFeatures } from './expertise-features.ts'
import { sameBook, type KindBook } from './expertise-kinds.ts'
import { EvidenceRow, type KnownModel } from './expertise-model.ts'
import type { ModelPool } from './expertise-pool.ts'
import { moved, type ExpertiseSnapshot, type StoredModel } from './expertise-snapshot.ts'
import type { ExpertiseSetting } from './expertise-table.ts'

export type SnapshotTaker = {
  readonly replica: string
  /** At start: the replica's own rows, too. */
  readonly ownToo: boolean
  /** What is left of the snapshot's evidence by now. */
  readonly factor: number
  readonly features: SubjectFeatures
  readonly pools: ReadonlyMap<string, ModelPool>
  poolOf(scope: string): ModelPool
  knownIn(pool: ModelPool, model: string): KnownModel
  declare(pool: ModelPool, model: string, known: KnownModel): void
  refuse(): void
}

/** Beyond them a replica's rows are refused, and counted. */
const MOST_REPLICAS = 32
/** A start waits for hundreds of tenants; lessons bring the rest. */
const ROUNDS = 2

export function takeSnapshot(snapshot: ExpertiseSnapshot, taker: SnapshotTaker): void {
  const { features } = taker
  const sameKinds = agreeOnKinds(snapshot.book, taker)
  const places = snapshot.features.map(([group, label]) => features.placeOf(group, label))
  const foreign = snapshot.features.flatMap(([group], at) => (group === 'kind' && !sameKinds ? [places[at]!] : []))
  for (const { scope, models } of snapshot.scopes) {
    const pool = taker.poolOf(scope)
    for (const stored of models) {
      const known = taker.knownIn(pool, stored.name)
      takeRows(known, stored, places, foreign, taker)
      known.changes = Math.max(known.changes, stored.changes)
      known.markAt(stored.lastMs, places, features.size)
      for (const setting of stored.settings) takeSetting(known, setting, features)
      known.sum()
      taker.declare(pool, stored.name, known)
    }
    pool.solveAll(ROUNDS)
  }
}

function takeRows(
  known: KnownModel,
  { rows }: StoredModel,
  places: readonly number[],
  foreign: readonly number[],
  { replica: mine, ownToo, factor, refuse }: SnapshotTaker,
): void {
  for (const [replica, row] of rows) {
    const own = replica === mine
    if (own ? !ownToo : row.version <= (known.others.get(replica)?.version ?? -1)) continue
    if (!own && !known.others.has(replica) && known.others.size >= MOST_REPLICAS) {
      refuse()
      continue
    }
    const taken = new EvidenceRow(moved(row.evidence, places))
    for (const place of foreign) taken.evidence.drop(place)
    taken.evidence.scale(factor)
    taken.version = row.version
    taken.era = row.era
    if (own) known.own = taken
    else known.others.set(replica, taken)
  }
}

function takeSetting(known: KnownModel, setting: ExpertiseSetting, features: SubjectFeatures): void {
  const key = setting.topic ?? ''
  const mine = known.settings.get(key)
  if (mine !== undefined && mine.atMs >= setting.atMs) return
  known.settings.set(key, setting)
  if (setting.outcomes === 0 && setting.topic !== null) known.forget(features.placeOf('topic', setting.topic))
}

/** True where the kinds of `book` are the ones in use afterwards. */
function agreeOnKinds(book: KindBook | null, { features, pools }: SnapshotTaker): boolean {
  const { finder } = features
  const mine = finder.book
  if (book === null) return mine === null
  if (mine !== null && sameBook(mine, book)) return true
  if (mine !== null && (mine.madeAtMs < book.madeAtMs || (mine.madeAtMs === book.madeAtMs && mine.within <= book.within))) return false
  finder.adopt(book)
  for (const pool of pools.values()) {
    for (const model of pool.models.values()) for (const place of features.placesOf('kind').values()) model.drop(place)
  }
  return true
}
