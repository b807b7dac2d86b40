/** What the words of a receipt mean, in sentences. docs/api.md has the same in full. */

export const REASONS = {
  'only-candidate': 'no other backend could take it',
  home: 'it holds most of this conversation, and that made it the cheapest',
  'shared-prefix': "another conversation's common beginning is warm there",
  load: 'the backend that holds this conversation was busier than moving costs',
  'least-cost': 'nothing of it is warm anywhere, and this one costs the fewest seconds',
  quality: 'its model is expected to answer better than others that would be sooner',
  policy: 'the configured policy chose it',
}

export const CACHE_VERDICTS = {
  hit: 'as much was cached as could be',
  new: 'nothing of it was computed before, as far as is known',
  model_changed: 'the turn before asked for another model',
  tools_changed: 'the tools are not those of the turn before',
  instructions_changed: 'the instructions are not those of the turn before',
  reasoning_dropped: 'reasoning of an earlier answer is left out now',
  history_changed: 'the prompt does not begin as the turn before ended',
  moved: 'the backend that holds it was dearer than computing it again',
  home_unavailable: 'the backend that holds it takes no turns, or failed',
  evicted: 'the backend had let it go for want of room',
  restarted: 'the backend lost its cache since',
  rendered_differently: 'the engine found another text than the gateway, or keeps no answers',
  not_told: 'the engine does not say, and its time to the first token does not tell',
  unanswered: 'no backend answered',
}

/** Why a backend was not considered: the first filter that it did not pass. */
export const FILTERS = {
  model: 'it does not offer the model',
  endpoint: 'it does not speak the protocol of the request',
  vision: 'it cannot see pictures',
  health: 'it was not usable',
  drain: 'it was draining',
  tried: 'it had been tried already',
  context: 'its context is too short',
  protocol: 'the conversation was rendered in another protocol so far',
}

/** What decided which of several answers is given. */
export const DECIDED_BY = {
  only_answer: 'no other answer was there',
  majority: 'more than half of the ballots agree',
  plurality: 'it has the most ballots',
  quality: 'most is expected of its model',
  confidence: 'its tokens were the most probable',
  order: 'nothing told the answers apart, and it stands first',
  verdict: 'the judge chose it',
  synthesis: 'it was written from all answers',
  confident: 'there was no reason to ask the next model',
  escalated: 'the answer of the model before was doubtful',
  not_worth_it: 'asking the next model has not paid lately',
}

/** What POST /homing/v1/outcomes says of a grade. */
export const VERDICTS = {
  accepted: 'counted',
  corrected: 'counted instead of your grade before',
  duplicate: 'nothing new, you had said the same',
}

export const OUTCOMES = {
  completed: 'completed',
  incomplete: 'cut short',
  failed: 'failed',
  cancelled: 'cancelled',
  in_progress: 'in progress',
}
