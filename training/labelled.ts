/**
 * Labelled texts for the built-in topics and intents: written ones (training/data), and parts of the public sets whose labels
 * say the same. Sources are kept, so that training and judging can be split by source.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LabelledText, LabelledTurn } from '../src/fingerprint/training-lines.ts'
import { seededRandom } from '../sim/random.ts'
import { projectRoot } from '../test/house/root.ts'

export type SourcedText = LabelledText & { readonly source: string }

export function rowsOf<T>(path: string): T[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T)
}

/** Blocks that begin with `## LABEL SOURCE`, one text a line. */
export function writtenTexts(name: 'intents' | 'topics'): SourcedText[] {
  const texts: SourcedText[] = []
  let label = ''
  let source = ''
  for (const line of readFileSync(join(projectRoot(), 'training/data', `${name}.txt`), 'utf8').split('\n')) {
    const head = /^## (.+) (\w+)$/.exec(line)
    if (head !== null) [, label = '', source = ''] = head
    else if (line !== '' && !line.startsWith('# ')) texts.push({ text: line, label, source, weight: WRITTEN_WEIGHT })
  }
  return texts
}

/** Written ones are few and broad, the sets beside them many and narrow. */
const WRITTEN_WEIGHT = 3
const DRAWN_A_LABEL = 150

/** Texts drawn from the patterns of `templates.txt`, different ones only. */
export function drawnTexts(kind: 'intent' | 'topic'): SourcedText[] {
  const random = seededRandom(4)
  const patterns = new Map<string, string[]>()
  let label: string | null = null
  for (const line of readFileSync(join(projectRoot(), 'training/data/templates.txt'), 'utf8').split('\n')) {
    const head = /^## (intent|topic) (.+)$/.exec(line)
    if (head !== null) label = head[1] === kind ? head[2]! : null
    else if (label !== null && line !== '' && !line.startsWith('# ')) patterns.set(label, [...(patterns.get(label) ?? []), line])
  }
  return [...patterns].flatMap(([of, lines]) => {
    const texts = new Set<string>()
    for (let tries = 0; tries < 4 * DRAWN_A_LABEL && texts.size < DRAWN_A_LABEL; tries++) {
      texts.add(drawn(lines[Math.floor(random() * lines.length)]!, random))
    }
    return [...texts].map((text) => ({ text, label: of, source: 'templates' }))
  })
}

const drawn = (pattern: string, random: () => number): string =>
  pattern.replaceAll(/\{([^{}]*\|[^{}]*)\}/g, (_, choices: string) => {
    const all = choices.split('|')
    return all[Math.floor(random() * all.length)]!
  })

/** Only intents of CLINC whose utterances are, nearly all, what the built-in intent says. */
const CLINC_INTENTS: Readonly<Record<string, string>> = {
  translate: 'translate',
  thank_you: 'thank',
  goodbye: 'leave',
  yes: 'continue',
  calculator: 'solve',
  measurement_conversion: 'solve',
  definition: 'ask',
  interest_rate: 'ask',
  nutrition_info: 'ask',
  ingredient_substitution: 'ask',
  travel_alert: 'ask',
  carry_on: 'ask',
  transfer: 'call a tool',
  reminder: 'call a tool',
  alarm: 'call a tool',
  timer: 'call a tool',
  play_music: 'call a tool',
  schedule_meeting: 'call a tool',
  restaurant_reservation: 'call a tool',
  calendar_update: 'call a tool',
  smart_home: 'call a tool',
  text: 'call a tool',
}
const CLINC_TOPICS: Readonly<Record<string, string>> = {
  small_talk: 'chit-chat',
  banking: 'customer service',
  credit_cards: 'customer service',
}
/** Everyday things that no other built-in topic has. */
const CLINC_OTHER: ReadonlySet<string> = new Set([
  'recipe',
  'ingredients_list',
  'meal_suggestion',
  'cook_time',
  'food_last',
  'calories',
  'weather',
  'time',
  'timezone',
  'translate',
  'spelling',
  'definition',
  'flip_coin',
  'roll_dice',
  'travel_suggestion',
  'vaccines',
  'play_music',
  'what_song',
  'next_holiday',
  'shopping_list',
  'timer',
])
const SUBJECT_TOPICS: Readonly<Record<string, string>> = {
  abstract_algebra: 'math',
  business_ethics: 'business',
  college_chemistry: 'chemistry',
  college_medicine: 'health',
  conceptual_physics: 'physics',
  elementary_mathematics: 'math',
  high_school_biology: 'biology',
  high_school_european_history: 'history',
  high_school_macroeconomics: 'economics',
  high_school_physics: 'physics',
  high_school_us_history: 'history',
  human_sexuality: 'psychology',
  logical_fallacies: 'philosophy',
  marketing: 'business',
  moral_disputes: 'philosophy',
  philosophy: 'philosophy',
  professional_law: 'law',
  public_relations: 'business',
  us_foreign_policy: 'history',
}
/** Of each set beyond the written ones, so many a label at most: they are narrow. */
const MOST_OF_A_SET = 250

const TASK_INTENTS: Readonly<Record<string, string>> = {
  gsm8k: 'solve',
  math: 'solve',
  arc_challenge: 'solve',
  mbpp: 'code',
  human_eval: 'code',
  natural_qa: 'ask',
  trivia_qa: 'ask',
  commongen: 'write',
}
const TASK_TOPICS: Readonly<Record<string, string>> = {
  mbpp: 'coding',
  human_eval: 'coding',
  gsm8k: 'math',
  math: 'math',
  trivia_qa: 'other',
  commonsense_qa: 'other',
  commongen: 'other',
}

export function intentExamples(data: string): SourcedText[] {
  const clincs = clinc(data, (row) => CLINC_INTENTS[row.intent])
  return [...writtenTexts('intents'), ...drawnTexts('intent'), ...clincs, ...benchmarkTexts(data, TASK_INTENTS)]
}

function benchmarkTexts(data: string, labels: Readonly<Record<string, string>>): SourcedText[] {
  const rows = rowsOf<{ task: string; question: string }>(join(data, 'llmrouter-outcomes-train-half.jsonl'))
  const texts = rows.flatMap(({ task, question }) => {
    const label = labels[task]
    return label === undefined ? [] : [{ text: question, label, source: 'llmrouter' }]
  })
  return capped(texts, MOST_OF_A_SET / 2)
}

export function topicExamples(data: string): SourcedText[] {
  const questions = rowsOf<{ text: string; category: string }>(join(data, 'mmlu-pro-topics-quarter.jsonl'))
  const prompts = rowsOf<{ prompt: string; subject: string }>(join(data, 'routellm-mmlu-19subjects.jsonl'))
  const asked = new Set(questions.map(({ text }) => text.trim()))
  return [
    ...writtenTexts('topics'),
    ...drawnTexts('topic'),
    ...questions.map(({ text, category }) => ({ text, label: category, source: 'mmlu-pro' })),
    ...capped(
      prompts.flatMap(({ prompt, subject }) => {
        const text = prompt.split('\nA. ')[0]!.trim()
        const label = SUBJECT_TOPICS[subject]
        return label === undefined || asked.has(text) ? [] : [{ text, label, source: 'mmlu' }]
      }),
      2 * MOST_OF_A_SET,
    ),
    ...clinc(data, (row) => (CLINC_OTHER.has(row.intent) ? 'other' : CLINC_TOPICS[row.domain ?? ''])),
    ...capped(
      sgdDialogues(data).flatMap((turns) =>
        turns.filter(({ speaker, text }) => speaker === 'user' && text.split(' ').length > 4).map(({ text }) => ({
          text,
          label: 'customer service',
          source: 'sgd',
        })),
      ),
      MOST_OF_A_SET,
    ),
    ...agentTexts(data),
    ...benchmarkTexts(data, TASK_TOPICS),
  ]
}

type ClincRow = { readonly text: string; readonly intent: string; readonly domain: string | null; readonly split: string }

function clinc(data: string, labelOf: (row: ClincRow) => string | undefined): SourcedText[] {
  const texts = rowsOf<ClincRow>(join(data, 'clinc150-train-val.jsonl')).flatMap((row) => {
    const label = row.split === 'train' ? labelOf(row) : undefined
    return label === undefined ? [] : [{ text: row.text, label, source: 'clinc' }]
  })
  return capped(texts, MOST_OF_A_SET)
}

type AgentMessage = {
  readonly role: string
  readonly content: string | null
  readonly tool_calls?: readonly { readonly function: { readonly name: string; readonly arguments: string } }[]
}
export type AgentRun = { readonly task_id: number; readonly messages: readonly AgentMessage[] }

/** What an agent's user says is customer service; calls and their results are tools. */
function agentTexts(data: string): SourcedText[] {
  const runs = rowsOf<AgentRun>(join(data, 'tau-bench-airline-tasks0-24.jsonl'))
  const texts = runs.flatMap(({ messages }) =>
    messages.flatMap(({ role, content, tool_calls }): SourcedText[] => {
      const called = tool_calls?.[0]?.function
      if (called !== undefined) {
        return [{ text: `${called.name} ${called.arguments}`, label: 'tools and agents', source: 'tau-bench' }]
      }
      if (content === null || content === '') return []
      if (role === 'user') return [{ text: content, label: 'customer service', source: 'tau-bench' }]
      return role === 'tool' ? [{ text: content, label: 'tools and agents', source: 'tau-bench' }] : []
    }),
  )
  return capped(texts, MOST_OF_A_SET)
}

/** Spread over the set, since its rows lie in order of their kind; texts that occur twice are taken once. */
function capped(texts: readonly SourcedText[], most: number): SourcedText[] {
  const byLabel = new Map<string, Map<string, SourcedText>>()
  for (const row of texts) {
    const of = byLabel.get(row.label) ?? new Map<string, SourcedText>()
    byLabel.set(row.label, of.set(row.text.trim().toLowerCase(), row))
  }
  return [...byLabel.values()].flatMap((of) => {
    const different = [...of.values()]
    const step = Math.max(1, different.length / most)
    return Array.from({ length: Math.min(most, different.length) }, (_, at) => different[Math.floor(at * step)]!)
  })
}

type SgdTurn = { readonly speaker: 'USER' | 'SYSTEM'; readonly text: string; readonly services: readonly string[] }

/** Domains as labels. A turn between two services is about the one that it begins. */
export function sgdDialogues(data: string): LabelledTurn[][] {
  return rowsOf<{ turns: readonly SgdTurn[] }>(join(data, 'sgd-dev-half.jsonl')).map(({ turns }) => {
    let current = ''
    return turns.map(({ speaker, text, services }) => {
      const domains = services.map((service) => service.replace(/_\d+$/, ''))
      current = domains.find((domain) => domain !== current && domains.length > 1) ?? domains[0] ?? current
      return { speaker: speaker === 'USER' ? 'user' : 'assistant', text, label: current }
    })
  })
}
