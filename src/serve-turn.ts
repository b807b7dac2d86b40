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
 * of each API sees.
 */
import { answerChat } from './answer-chat.ts'
import { answerResponses } from './answer-responses.ts'
import { Cancellation } from './model/cancellation.ts'
import { HomingError } from './model/error.ts'
import type { Turn } from './model/turn.ts'
import type { Stages } from './stages.ts'
import { TurnRun } from './turn-run.ts'
import type { ClientSink } from './upstream/client-sink.ts'

/** Rejects with a HomingError when nothing has been sent; otherwise the client has had its ending. */
export async function serveTurn(turn: Turn, sink: ClientSink, stages: Stages): Promise<void> {
  const abort = new Cancellation()
  sink.onClosed(() => abort.abort())
  const asked = await stages.resolve(turn)
  if (abort.aborted) return // nobody waits any more
  const resolved = stages.fingerprint(asked, true)
  const request = stages.schedulingRequest(resolved)
  const charge = stages.charge(request)
  const run = new TurnRun({ turn: resolved, request, charge, sink, abort, stages })
  try {
    if (turn.endpoint === 'chat') await answerChat(run)
    else await answerResponses(run)
  } catch (error) {
    if (!abort.aborted || error instanceof HomingError) throw error // a client that left while it waited is told nothing
  } finally {
    run.close()
  }
}
