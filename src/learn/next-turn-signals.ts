/**
 * What the next turn of a session says of the answer before it: the same question again, a correction, a complaint, thanks, a tool that
 * reports an error, or simply that it goes on. Intents are the fingerprint's; words are only read into a sketch.
 *
 *   context   ... [ what the answer was given to ] [ the answer ] [ news: words of a person, outputs of tools ]
 *
 * An answer is found again by its mark, a number that its last item looks like, so a side request of the same session (a title, a
 * summary) is taken for no reaction.
 */
import type { Labelled } from '../model/fingerprint.ts'
import type { ConversationItem } from '../model/item.ts'
import { isObject, type JsonValue } from '../model/json.ts'
import { fnv1a, FNV_OFFSET } from '../model/text-hash.ts'
import { asksAgain, sketchOf, type QuestionSketch } from './question-sketch.ts'
import { NO_EVIDENCE, withSign, type Evidence } from './signals.ts'

/** What follows the last answer of a context. */
export type News = {
  /** Of the answer that it follows; 0 where there is none. */
  readonly answerMark: number
  /** Items before the news. */
  readonly historyItems: number
  /** Of what a person said; null where nobody did, or too little. */
  readonly question: QuestionSketch | null
  readonly spoken: boolean
  /** It ends in a question mark. */
  readonly asks: boolean
  /** Null where no tool answered. */
  readonly toolError: boolean | null
}

/** Of the intent, before a reaction is believed. "Write a reply: the customer complains" is taken for a complaint at .74. */
const SURE = 0.8
/** A message or two of a turn, and the results of the calls before it. */
const MOST_NEWS = 64

export function newsOf(context: readonly ConversationItem[], salt: number): News {
  let question: QuestionSketch | null = null
  let spoken = false
  let asks = false
  let toolError: boolean | null = null
  let at = context.length - 1
  for (; at >= 0 && at >= context.length - MOST_NEWS; at--) {
    const item = context[at]!
    if (isAnswer(item)) break
    if (item.type === 'message' && item['role'] === 'user' && !spoken) {
      spoken = true
      const text = textOf(item['content'])
      asks = /[?？]\s*$/.test(text.slice(-4))
      question = sketchOf(text, salt)
    } else if (item.type === 'function_call_output' || item.type === 'custom_tool_call_output') {
      toolError = toolError === true || reportsError(item['output'])
    }
  }
  const before = context[at]
  const answerMark = before !== undefined && isAnswer(before) ? markOf(before) : 0
  return { answerMark, historyItems: at + 1, question, spoken, asks, toolError }
}

/** `question`: what the answer was given to. `intent`: of the news. */
export function signsOfNextTurn(
  question: QuestionSketch | null,
  news: Pick<News, 'question' | 'spoken' | 'asks' | 'toolError'>,
  intent: Labelled | null,
): Evidence {
  let evidence = withSign(NO_EVIDENCE, 'tool_error', news.toolError)
  if (!news.spoken) return evidence
  const meant = intent !== null && intent[1] >= SURE ? intent[0] : null
  if (question !== null) {
    evidence = withSign(evidence, 'asked_again', news.question !== null && asksAgain(question, news.question))
  }
  if (intent !== null) {
    evidence = withSign(evidence, 'correction', meant === 'correct')
    // whoever asks about a complaint ("the customer says the app is terrible, what do we answer?") makes none
    evidence = withSign(evidence, 'complaint', meant === 'complain' && !news.asks)
    evidence = withSign(evidence, 'thanks', meant === 'thank')
  }
  return withSign(evidence, 'went_on', true)
}

/** Nobody came back in time. */
export const NOBODY_CAME: Evidence = withSign(NO_EVIDENCE, 'went_on', false)

/** The mark of an answer by its items; 0 where it says nothing that would be sent back. */
export function markOfAnswer(output: readonly ConversationItem[]): number {
  for (let at = output.length - 1; at >= 0; at--) if (isAnswer(output[at]!)) return markOf(output[at]!)
  return 0
}

const isAnswer = ({ type, role }: ConversationItem): boolean =>
  (type === 'message' && role === 'assistant') || type === 'function_call' || type === 'custom_tool_call'

const MARKED_CHARACTERS = 64

function markOf(item: ConversationItem): number {
  const text = item.type === 'message' ? textOf(item['content']).trim() : `${String(item['call_id'])} ${String(item['name'])}`
  const ends = text.length <= 2 * MARKED_CHARACTERS ? text : text.slice(0, MARKED_CHARACTERS) + text.slice(-MARKED_CHARACTERS)
  return (fnv1a(ends, FNV_OFFSET ^ text.length) >>> 0) + 1
}

function textOf(content: JsonValue | undefined): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  let all = ''
  for (const part of content as readonly JsonValue[]) {
    if (!isObject(part)) continue
    const said = part['text'] ?? part['refusal']
    if (typeof said === 'string') all = all === '' ? said : `${all}\n${said}`
  }
  return all
}

/** By how the output begins; tools that hide their errors in the middle are believed. */
function reportsError(output: JsonValue | undefined): boolean {
  return TOOL_ERROR.test(textOf(output).slice(0, ERROR_CHARACTERS))
}

const ERROR_CHARACTERS = 200
/** "Error: no such order", {"error": "..."}, a traceback, {"success": false}; not {"error": null}. */
const TOOL_ERROR =
  /^[\s[{("'*#]*(?:(?:tool |internal |runtime )?(?:error|exception)\b(?!["']?\s*[:=]\s*(?:null|false|none|0|""|\[\]))|traceback \(most recent|\w+(?:error|exception):|fatal:|failed\b|permission denied|no such file|(?:success|ok)["']?\s*[:=]\s*false)/i
