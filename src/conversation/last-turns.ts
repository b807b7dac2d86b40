/**
 * Whether a turn goes on from its session's last one, and where its prefix changed if it does not.
 *
 *   prompt   | tools | instructions | items ............ | answer |
 *   kept     ^ key of the chain at each of these ends, in whole blocks; no text
 *
 * A chained hash names everything before it, so the first end at which the keys differ lies in the part that changed. A
 * change within the last, unfinished block of a part is put down to the part behind it. For turns with
 * `previous_response_id` the stored parent is compared instead, which two children of one response may share.
 *
 * About 200 bytes a session; the least recently answered leaves first and is counted.
 */
import { isObject } from '../model/json.ts'
import type { ConversationItem } from '../model/item.ts'
import type { GrowingChain, ResolvedTurn } from '../model/turn.ts'

/** `none`: it goes on where the last turn ended; `reasoned`: the same, and that turn's answer held reasoning. */
export type PrefixChange = 'none' | 'reasoned' | 'model' | 'tools' | 'instructions' | 'reasoning' | 'history' | 'unknown'

type Mark = { readonly blocks: number; readonly key: number }
type LastTurn = {
  readonly model: string
  readonly tools: Mark
  readonly toolsCharacters: number
  readonly head: Mark
  readonly prompt: Mark
  readonly full: Mark
  readonly reasoned: boolean
  /** Items of the prompt that the conversation began with. */
  readonly begunItems: number
}

export class LastTurns {
  readonly #turns = new Map<string, LastTurn>()
  readonly #max: number
  readonly evictions = { size: 0 }

  constructor(maxSessions: number) {
    this.#max = maxSessions
  }

  /** To be asked before the turn is remembered. What costs more than a look-up is done when the answer is wanted. */
  changeOf(turn: ResolvedTurn): () => PrefixChange {
    if (turn.parent !== null) return () => changeFromParent(turn)
    const last = this.#turns.get(keyOf(turn))
    if (last === undefined) return () => 'unknown'
    const change = changeFrom(last, turn)
    return () => change
  }

  remember(turn: ResolvedTurn, full: GrowingChain, reasoned: boolean): void {
    const key = keyOf(turn)
    const toolsCharacters = toolsLength(turn)
    const before = this.#turns.get(key)
    const begunItems = before !== undefined && goesOn(before, turn) ? before.begunItems : turn.context.length
    this.#turns.delete(key)
    this.#turns.set(key, {
      model: turn.model,
      tools: markAt(turn.chain, toolsCharacters),
      toolsCharacters,
      head: markAt(turn.chain, turn.headCharacters),
      prompt: markAt(turn.chain, turn.chain.totalCharacters),
      full: markAt(full, full.totalCharacters),
      reasoned,
      begunItems,
    })
    if (this.#turns.size <= this.#max) return
    this.#turns.delete(this.#turns.keys().next().value!)
    this.evictions.size++
  }

  /** The model that served the conversation which this turn goes on; null where it goes on none that is known. */
  modelOf(turn: ResolvedTurn): string | null {
    if (turn.parent !== null) return turn.parent.model
    const last = this.#turns.get(keyOf(turn))
    return last !== undefined && goesOn(last, turn) ? last.model : null
  }

  get size(): number {
    return this.#turns.size
  }
}

const keyOf = (turn: ResolvedTurn): string => `${turn.tenant}\n${turn.session.id}`

/** Tools come first; what follows them in the head is a separator, `system`, a separator and the instructions. */
const toolsLength = ({ headCharacters, instructions, endpoint }: ResolvedTurn): number =>
  endpoint === 'chat' || instructions === null || instructions === ''
    ? headCharacters
    : headCharacters - instructions.length - 'system'.length - 2

const markAt = (chain: GrowingChain, characters: number): Mark => {
  const blocks = Math.min(chain.length, Math.floor(characters / chain.blockCharacters))
  return { blocks, key: chain.key(blocks) }
}

/**
 * Its history reaches beyond the prompt that the conversation began with, so an answer of ours is part of it. Prompts that share
 * their beginning share a session by their prefix: the same question again, or other questions behind the same examples, whose
 * answers nobody gave. They go on nothing.
 */
function goesOn({ begunItems }: LastTurn, { context }: ResolvedTurn): boolean {
  let at = context.length
  while (at > begunItems && !isAnswer(context[at - 1]!)) at--
  return at > begunItems
}

const isAnswer = ({ type, role }: ConversationItem): boolean => role === 'assistant' || type === 'reasoning' || type.endsWith('_call')

const holds = (chain: GrowingChain, { blocks, key }: Mark): boolean => chain.length >= blocks && chain.key(blocks) === key

function changeFrom(last: LastTurn, turn: ResolvedTurn): PrefixChange {
  const { chain } = turn
  if (last.model !== turn.model) return 'model'
  if (holds(chain, last.full)) return last.reasoned ? 'reasoned' : 'none'
  if (holds(chain, last.prompt)) return last.reasoned ? 'reasoning' : 'history'
  // Chat has no instructions apart from its system messages: its head is tools and those, and only whole heads are compared.
  if (turn.endpoint === 'responses' && (toolsLength(turn) !== last.toolsCharacters || !holds(chain, last.tools))) return 'tools'
  if (!holds(chain, last.head)) return 'instructions'
  return 'history'
}

function changeFromParent(turn: ResolvedTurn): PrefixChange {
  const parent = turn.parent!
  if (turn.model !== parent.model) return 'model'
  if (turn.tools !== undefined && JSON.stringify(turn.tools) !== JSON.stringify(parent.tools)) return 'tools'
  if ((turn.instructions ?? null) !== (parent.resource['instructions'] ?? null)) return 'instructions'
  const output = parent.resource['output']
  const reasoned = Array.isArray(output) && output.some((item) => isObject(item) && item['type'] === 'reasoning')
  return reasoned ? 'reasoned' : 'none'
}
