/** A turn whose history is known, answered by one model. */
import { answerChat } from './answer-chat.ts'
import { answerResponses } from './answer-responses.ts'
import type { Cancellation } from './model/cancellation.ts'
import { HomingError } from './model/error.ts'
import type { ResolvedTurn } from './model/turn.ts'
import type { Stages } from './stages.ts'
import { TurnRun } from './turn-run.ts'
import type { ClientSink } from './upstream/client-sink.ts'

export async function answerTurn(
  turn: ResolvedTurn,
  sink: ClientSink,
  abort: Cancellation,
  stages: Stages,
): Promise<void> {
  const request = stages.schedulingRequest(turn)
  const charge = stages.charge(request)
  const run = new TurnRun({ turn, request, charge, sink, abort, stages })
  try {
    if (turn.endpoint === 'chat') await answerChat(run)
    else await answerResponses(run)
  } catch (error) {
    if (!abort.aborted || error instanceof HomingError) throw error // a client that left while it waited is told nothing
  } finally {
    run.close()
  }
}
