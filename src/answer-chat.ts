/** What the client of POST /v1/chat/completions sees of a turn. Nothing is stored; the receipt goes by the backend's id. */
import { HomingError } from './model/error.ts'
import { beginPatience, NO_PATIENCE } from './patience.ts'
import type { TurnRun } from './turn-run.ts'
import { ChatRelay } from './upstream/chat-relay.ts'

export async function answerChat(run: TurnRun): Promise<void> {
  const { turn, sink, stages } = run
  const relay = new ChatRelay(
    turn,
    sink,
    (pending) => run.headers(pending),
    () => run.foundTokens,
  )
  const patience = turn.stream ? beginPatience(relay, stages.streamCommitAfterMs) : NO_PATIENCE
  let result
  try {
    result = await run.dispatch(relay)
  } catch (error) {
    run.noteRefusal(error, relay, stages.newId('resp'))
    if (!(error instanceof HomingError) || !relay.committed) throw error
    return relay.failCommitted(error)
  } finally {
    patience.stop()
  }
  const receipt = run.settle(result, relay, relay.answerId ?? stages.newId('resp'), null)
  stages.receipts.put(run.turn, receipt)
  if (result.kind === 'answered') relay.finish()
  stages.observe(turn, receipt, result)
}
