/** What the client of POST /v1/chat/completions sees of a turn. Nothing is stored; the receipt goes by the answer's id, the backend's as a rule. */
import { HomingError } from './model/error.ts'
import { beginPatience, NO_PATIENCE } from './patience.ts'
import type { TurnRun } from './turn-run.ts'
import { ChatRelay } from './upstream/chat-relay.ts'

export async function answerChat(run: TurnRun): Promise<void> {
  const { turn, sink, stages } = run
  const claimed: string[] = []
  const relay = new ChatRelay(
    turn,
    sink,
    (pending) => run.headers(pending),
    () => run.foundTokens,
    (given) => {
      const id = stages.answerIds.claim(turn.tenant, given)
      claimed.push(id)
      const model = run.chosenModel
      return model === null ? { id } : { id, model }
    },
  )
  try {
    await answer(run, relay)
  } finally {
    for (const id of claimed) stages.answerIds.release(turn.tenant, id)
  }
}

async function answer(run: TurnRun, relay: ChatRelay): Promise<void> {
  const { turn, stages } = run
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
