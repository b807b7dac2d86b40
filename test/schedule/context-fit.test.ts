import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { HomingError } from '../../src/model/error.ts'
import { findCandidates } from '../../src/schedule/candidates.ts'
import { backendAt, requestFor, words, type FakeBackend } from './fixture.ts'

const ofContext = (contextTokens: number | null, index: number): FakeBackend =>
  backendAt(index, { models: new Map([['m', { name: 'm', served: 'm', contextTokens }]]) })

/** Contexts of those who may serve a turn of so many tokens. */
function fitting(contexts: readonly (number | null)[], promptTokens: number, maxOutputTokens: number | null = null, expectedOutputTokens = 256): (number | null)[] {
  const request = requestFor(words('x', 1), { promptTokens, maxOutputTokens })
  return findCandidates(contexts.map(ofContext), request, expectedOutputTokens).backends.map((backend) => backend.models.get('m')!.contextTokens)
}

describe('Context fit', () => {
  it('keeps everybody where everybody has room', () => {
    assert.deepEqual(fitting([8192, 32_768, null], 1000, 500), [8192, 32_768, null])
  })

  it('counts the bound that the client set on the answer', () => {
    assert.deepEqual(fitting([8192, 32_768], 1000, 10_000), [32_768])
  })

  it('counts the expected answer where the client set no bound', () => {
    assert.deepEqual(fitting([8192, 32_768], 6000, null, 256), [8192, 32_768])
    assert.deepEqual(fitting([8192, 32_768], 6000, null, 3000), [32_768])
  })

  it('leaves room for an estimate that is a fifth too short, where another has it', () => {
    assert.deepEqual(fitting([8192, 32_768], 7500), [32_768])
    assert.deepEqual(fitting([8192, 8192], 7500), [8192, 8192], 'nobody has more')
    assert.deepEqual(fitting([8192, null], 7500), [8192, null], 'one that does not tell may have less')
  })

  it('sends a turn whose bound fits nowhere where its probable answer fits', () => {
    assert.deepEqual(fitting([8192, 32_768], 8000, 100_000), [32_768])
    assert.deepEqual(fitting([8192, 32_768], 32_700, 100_000), [32_768])
  })

  it('refuses what is too long for the largest by more than the estimate may err', () => {
    assert.throws(() => fitting([4096, 8192], 11_000), (error) => error instanceof HomingError && error.code === 'context_length_exceeded')
    assert.deepEqual(fitting([4096, 8192], 9500), [8192])
    assert.deepEqual(fitting([4096, null], 1e6), [null])
  })

  it('never offers one that must refuse while another need not, whatever the sizes', () => {
    const size = fc.option(fc.integer({ min: 100, max: 50_000 }))
    fc.assert(fc.property(fc.array(size, { minLength: 1, maxLength: 6 }), fc.integer({ min: 1, max: 60_000 }), size, fc.integer({ min: 1, max: 5000 }), (contexts, prompt, bound, expected) => {
      const room = (context: number | null): number => context ?? Infinity
      const largest = Math.max(...contexts.map(room))
      let kept: (number | null)[]
      try {
        kept = fitting(contexts, prompt, bound, expected)
      } catch {
        return assert.ok(prompt > largest)
      }
      const [smallest] = kept.map(room).sort((one, other) => one - other) as [number]
      assert.equal(Math.max(...kept.map(room)), largest, 'the largest is always among them')
      if (prompt + (bound ?? expected) <= largest) assert.ok(smallest >= prompt + (bound ?? expected))
      else if (prompt <= largest) assert.ok(smallest >= prompt)
      else assert.equal(smallest, largest)
    }))
  })
})
