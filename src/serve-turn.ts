/**
 * THE SPINE. One turn, from its validated form to its last byte:
 *
 *   Turn -> resolve -> ResolvedTurn -> fingerprint -> schedule -> Decision -> dispatch + relay -> store -> last byte -> learn
 *
 * Each stage returns a new value; none edits what it was given. Resolve and schedule may refuse the client (HomingError
 * with a status), and so does a tenant's token budget between the two. Dispatch may try several backends until output is
 * visible. The response is stored before its terminal event leaves, so whatever a client saw finished is there after a
 * crash. Learning is never seen by the client.
 *
 * `turn-run.ts` places, dispatches and closes the books; `answer-chat.ts` and `answer-responses.ts` say what the client
 * of each API sees. Where several models are asked, `answer-ensemble.ts` and `answer-cascade.ts` send one such turn to each.
 */
import { answerCascade } from './answer-cascade.ts'
import { answerEnsemble } from './answer-ensemble.ts'
import { answerTurn } from './answer-turn.ts'
import { isAffordable } from './asked-models.ts'
import type { Asking } from './model/asking.ts'
import { Cancellation } from './model/cancellation.ts'
import type { ResolvedTurn, Turn } from './model/turn.ts'
import type { Stages } from './stages.ts'
import type { ClientSink } from './upstream/client-sink.ts'

/** Rejects with a HomingError when nothing has been sent; otherwise the client has had its ending. */
export async function serveTurn(turn: Turn, sink: ClientSink, stages: Stages): Promise<void> {
  const abort = new Cancellation()
  sink.onClosed(() => abort.abort())
  const asked = await stages.resolve(turn)
  if (abort.aborted) return // nobody waits any more
  const resolved = stages.fingerprint(asked, true)
  const asking = turn.asking === undefined ? ruleFor(resolved, stages) : turn.asking
  if (asking === null) return answerTurn(resolved, sink, abort, stages)
  // who is asked depends on what the turn is about, so it is read whole
  const described = resolved.fingerprint === undefined ? stages.fingerprint(resolved, false) : resolved
  if (asking.kind === 'ensemble') await answerEnsemble(described, asking, sink, abort, stages)
  else await answerCascade(described, asking, sink, abort, stages)
}

/** Most often there is none. */
function ruleFor(turn: ResolvedTurn, stages: Stages): Asking | null {
  const asking = stages.asking.ruleFor(turn)
  if (asking === null || isAffordable(turn, asking, stages)) return asking
  stages.asking.fallback('ensemble_rule_unaffordable')
  return null
}
