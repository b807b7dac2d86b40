import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LastTurns } from '../../src/conversation/last-turns.ts'
import { canonicalHead, canonicalItem } from '../../src/kv/canonical.ts'
import { PrefixChain } from '../../src/kv/chain.ts'
import type { ConversationItem } from '../../src/model/item.ts'
import type { JsonObject } from '../../src/model/json.ts'
import type { ResolvedTurn } from '../../src/model/turn.ts'

const says = (role: string, text: string): ConversationItem => ({ type: 'message', role, content: text.repeat(20) })
const tool = (name: string): JsonObject => ({ type: 'function', name, description: 'x'.repeat(300), parameters: {} })

type Prompt = { model?: string; tools?: readonly JsonObject[]; instructions?: string; items: readonly ConversationItem[] }

function turnOf({ model = 'm', tools = [tool('f')], instructions = 'Be brief and exact. '.repeat(20), items }: Prompt): ResolvedTurn {
  const head = canonicalHead(instructions, tools)
  const chain = PrefixChain.root('t', model).extend(head + items.map(canonicalItem).join(''))
  return {
    endpoint: 'responses', tenant: 't', model, instructions, tools, effectiveTools: tools, context: items, parent: null, chain,
    headCharacters: head.length, session: { id: 'header:s', source: 'header' },
  } as unknown as ResolvedTurn
}

const question = says('user', 'Where is the harbour? ')
const answer = says('assistant', 'Behind the lighthouse. ')
const next = says('user', 'And how deep is it there? ')

describe('LastTurns', () => {
  const changeTo = (prompt: Prompt, reasoned = false) => {
    const turns = new LastTurns(10)
    const first = turnOf({ items: [question] })
    turns.remember(first, first.chain.extend(canonicalItem(answer)), reasoned)
    return turns.changeOf(turnOf(prompt))()
  }

  it('a prompt that repeats prompt and answer goes on', () => {
    assert.equal(changeTo({ items: [question, answer, next] }), 'none')
    assert.equal(changeTo({ items: [question, answer, next] }, true), 'reasoned')
  })

  it('names what changed: model, tools, instructions, reasoning, history', () => {
    const items = [question, answer, next]
    assert.equal(changeTo({ items, model: 'other' }), 'model')
    assert.equal(changeTo({ items, tools: [tool('f'), tool('g')] }), 'tools')
    assert.equal(changeTo({ items, tools: [tool('g')] }), 'tools')
    assert.equal(changeTo({ items, instructions: 'Be long-winded and vague. '.repeat(20) }), 'instructions')
    assert.equal(changeTo({ items: [question, next] }, true), 'reasoning')
    assert.equal(changeTo({ items: [question, says('assistant', 'I never said that. '), next] }), 'history')
    assert.equal(changeTo({ items: [says('user', 'A summary of it all. '), next] }), 'history')
  })

  it('tells the model of a conversation that goes on, and none for questions that only begin alike', () => {
    const turns = new LastTurns(10)
    const examples = [says('user', 'What is three and four? '), says('assistant', 'Seven. ')]
    const answered = (items: readonly ConversationItem[], model: string): void => {
      const turn = turnOf({ items, model })
      turns.remember(turn, turn.chain.extend(canonicalItem(answer)), false)
    }
    const modelOf = (...items: ConversationItem[]): string | null => turns.modelOf(turnOf({ items }))
    answered([...examples, question], 'coder')
    assert.equal(modelOf(...examples, question), null, 'the same question again')
    assert.equal(modelOf(...examples, next), null, 'another question behind the same examples')
    answered([...examples, next], 'general')
    assert.equal(modelOf(...examples, question), null)
    assert.equal(modelOf(...examples, next, answer, question), 'general')
    answered([...examples, next, answer, question], 'math')
    assert.equal(modelOf(...examples, next, answer, says('user', 'Asked anew. ')), 'math', 'a turn that is asked in other words')
    const call = { type: 'function_call', call_id: 'c', name: 'f', arguments: '{}' }
    assert.equal(modelOf(...examples, next, call, { type: 'function_call_output', call_id: 'c', output: '1' }), 'math', 'a tool has answered')
    assert.equal(modelOf(...examples, next), null, 'from its start again')
  })

  it('knows nothing of a session it has not seen, and lets the oldest go', () => {
    const turns = new LastTurns(2)
    for (const id of ['a', 'b', 'c']) {
      const turn = { ...turnOf({ items: [question] }), session: { id, source: 'header' as const } }
      turns.remember(turn, turn.chain as PrefixChain, false)
    }
    assert.equal(turns.size, 2)
    assert.equal(turns.evictions.size, 1)
    assert.equal(turns.changeOf({ ...turnOf({ items: [question] }), session: { id: 'a', source: 'header' } })(), 'unknown')
  })
})
