import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { TenantLimits, type TenantLimit, type TokenCharge, type TokenCounts } from '../../src/http/tenant-limits.ts'
import { TokenBucket } from '../../src/http/token-bucket.ts'
import { HomingError } from '../../src/model/error.ts'

const UNLIMITED: TenantLimit = { concurrency: null, requestsPerMinute: null, tokensPerMinute: null, tokensCounted: 'uncached' }
const tokens = (outputTokens: number): TokenCounts => ({ promptTokens: 0, cachedTokens: 0, outputTokens })

function newLimits(limit: Partial<TenantLimit>) {
  const clock = { nowMs: 1000 }
  const limits = new TenantLimits((tenant) => (tenant === 'free' ? UNLIMITED : { ...UNLIMITED, ...limit }), () => clock.nowMs)
  const left = (tenant = 't'): number => limits.use().find((use) => use.tenant === tenant)!.tokensLeft!
  const refusal = (expected: number): HomingError | null => {
    try {
      limits.charge('t', () => tokens(expected)).settle(null)
      return null
    } catch (error) {
      assert.ok(error instanceof HomingError)
      return error
    }
  }
  return { clock, limits, left, refusal }
}

describe('A token budget', () => {
  it('takes what a turn is expected to need, and replaces it by what it used', () => {
    const { limits, left } = newLimits({ tokensPerMinute: 1000 })
    const charge = limits.charge('t', () => ({ promptTokens: 300, cachedTokens: 100, outputTokens: 50 }))
    assert.equal(left(), 750)
    charge.settle({ promptTokens: 320, cachedTokens: 0, outputTokens: 200 })
    assert.equal(left(), 480)
    charge.settle(null)
    assert.equal(left(), 480, 'only the first settlement counts')
    assert.deepEqual(limits.use()[0], { tenant: 't', tokensLeft: 480, expectedTokens: 250, usedTokens: 520, refused: { concurrency: 0, requests: 0, tokens: 0 } })
  })

  it('counts cached prompt tokens where it is told to count all', () => {
    const { limits, left } = newLimits({ tokensPerMinute: 1000, tokensCounted: 'all' })
    limits.charge('t', () => ({ promptTokens: 300, cachedTokens: 100, outputTokens: 50 })).settle({ promptTokens: 320, cachedTokens: 300, outputTokens: 10 })
    assert.equal(left(), 670)
  })

  it('gives everything back to a turn that nobody answered', () => {
    const { limits, left } = newLimits({ tokensPerMinute: 1000 })
    limits.charge('t', () => tokens(400)).settle(null)
    assert.equal(left(), 1000)
  })

  it('refuses what it cannot pay with the seconds until it can, and takes nothing for it', () => {
    const { limits, clock, left, refusal } = newLimits({ tokensPerMinute: 600 })
    limits.charge('t', () => tokens(500))
    const refused = refusal(250)!
    assert.deepEqual([refused.status, refused.code, refused.retryAfterSeconds], [429, 'rate_limit_exceeded', 15])
    assert.match(refused.message, /600 tokens a minute; 100 are left.*about 250/)
    assert.equal(left(), 100)
    clock.nowMs += 14_900
    assert.notEqual(refusal(250), null)
    clock.nowMs += 100
    assert.equal(refusal(250), null)
  })

  it('lets a turn larger than the bucket in when the bucket is full, and has the debt paid off first', () => {
    const { limits, clock, left, refusal } = newLimits({ tokensPerMinute: 600 })
    limits.charge('t', () => tokens(1500))
    assert.equal(left(), -900)
    assert.equal(refusal(1)!.retryAfterSeconds, 91)
    assert.equal(refusal(1500)!.retryAfterSeconds, 150)
    clock.nowMs += 150_000
    assert.equal(refusal(1500), null)
  })

  it('asks nobody for an expectation where there is no budget', () => {
    const { limits } = newLimits({ concurrency: 1 })
    limits.charge('t', () => assert.fail('expected for nothing')).settle(tokens(5))
    limits.charge('free', () => assert.fail('expected for nothing')).settle(tokens(5))
    assert.deepEqual(limits.headers('free'), {})
    assert.deepEqual(limits.use().map((use) => [use.tenant, use.tokensLeft]), [['t', null]])
  })

  it('keeps the budgets of tenants apart', () => {
    const { limits, left } = newLimits({ tokensPerMinute: 100 })
    limits.charge('t', () => tokens(100))
    limits.charge('u', () => tokens(30))
    assert.deepEqual([left('t'), left('u')], [0, 70])
  })

  it('tells limit, rest and time until it is whole as OpenAI does', () => {
    const { limits, clock } = newLimits({ tokensPerMinute: 600, requestsPerMinute: 60 })
    limits.enter('t')
    limits.charge('t', () => tokens(90))
    assert.deepEqual(limits.headers('t'), {
      'x-ratelimit-limit-requests': '60', 'x-ratelimit-remaining-requests': '59', 'x-ratelimit-reset-requests': '1s',
      'x-ratelimit-limit-tokens': '600', 'x-ratelimit-remaining-tokens': '510', 'x-ratelimit-reset-tokens': '9s',
    })
    clock.nowMs += 8750
    assert.equal(limits.headers('t')['x-ratelimit-reset-tokens'], '250ms')
    assert.equal(limits.headers('t')['x-ratelimit-reset-requests'], '0s')
    clock.nowMs += 250
    limits.charge('t', () => tokens(1805))
    assert.equal(limits.headers('t')['x-ratelimit-reset-tokens'], '3m1s')
    assert.equal(limits.headers('t')['x-ratelimit-remaining-tokens'], '0')
  })

  it('counts refusals by the limit that said so', () => {
    const { limits, refusal } = newLimits({ tokensPerMinute: 100, requestsPerMinute: 2, concurrency: 1 })
    limits.enter('t')
    assert.throws(() => limits.enter('t'))
    assert.throws(() => limits.enter('t'))
    limits.charge('t', () => tokens(100))
    refusal(1)
    assert.deepEqual(limits.use()[0]!.refused, { concurrency: 1, requests: 1, tokens: 1 })
  })
})

describe('A token budget, whatever happens', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 90_000 }) }),
    fc.record({ kind: fc.constant('charge' as const), expected: fc.integer({ min: 0, max: 2500 }) }),
    fc.record({ kind: fc.constant('settle' as const), which: fc.nat(), used: fc.option(fc.integer({ min: 0, max: 2500 })) }),
  )

  it('never holds more than its limit, lets through no more than limit and rate allow, and recovers', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 1000 }), fc.array(step, { maxLength: 60 }), (perMinute, steps) => {
      const { limits, clock, refusal } = newLimits({ tokensPerMinute: perMinute })
      const open: { charge: TokenCharge; expected: number }[] = []
      const startedMs = clock.nowMs
      let counted = 0 // settled turns as used, open ones as expected
      let beyond = 0 // by which single turns were larger than the bucket, or than expected
      for (const action of steps) {
        if (action.kind === 'pass') clock.nowMs += action.ms
        else if (action.kind === 'charge') {
          try {
            open.push({ charge: limits.charge('t', () => tokens(action.expected)), expected: action.expected })
            counted += action.expected
            beyond += Math.max(0, action.expected - perMinute)
          } catch (error) {
            assert.ok(error instanceof HomingError && error.retryAfterSeconds !== null)
            const before = clock.nowMs
            clock.nowMs += error.retryAfterSeconds * 1000
            assert.equal(refusal(action.expected), null, 'whoever comes back when told to is let in')
            assert.ok(clock.nowMs - before >= 1000)
          }
        } else if (open.length > 0) {
          const [settled] = open.splice(action.which % open.length, 1) as [(typeof open)[number]]
          settled.charge.settle(action.used === null ? null : tokens(action.used))
          counted += (action.used ?? 0) - settled.expected
          beyond += Math.max(0, (action.used ?? 0) - settled.expected)
        }
        const left = limits.use()[0]?.tokensLeft ?? perMinute
        assert.ok(left <= perMinute, `${left} of ${perMinute}`)
        const allowed = perMinute + ((clock.nowMs - startedMs) * perMinute) / 60_000 + beyond
        assert.ok(counted <= allowed + 1e-3, `${counted} counted, ${allowed} allowed`)
      }
      for (const { charge } of open) charge.settle(null)
      const debt = Math.max(0, -(limits.use()[0]?.tokensLeft ?? 0))
      clock.nowMs += 60_000 + (debt * 60_000) / perMinute
      assert.ok(Math.abs((limits.use()[0]?.tokensLeft ?? perMinute) - perMinute) < 1e-6 * perMinute)
    }))
  })

  it('comes to exactly what was used when all have settled, however wrong the expectations were', () => {
    const turn = fc.record({ expected: fc.integer({ min: 0, max: 5000 }), used: fc.option(fc.integer({ min: 0, max: 5000 })) })
    fc.assert(fc.property(fc.array(turn, { maxLength: 40 }), (turns) => {
      const { limits, left } = newLimits({ tokensPerMinute: 250_000 })
      const charges = turns.map(({ expected }) => limits.charge('t', () => tokens(expected)))
      turns.forEach(({ used }, i) => charges[i]!.settle(used === null ? null : tokens(used)))
      const used = turns.reduce((sum, turn) => sum + (turn.used ?? 0), 0)
      if (turns.length > 0) assert.deepEqual([left(), limits.use()[0]!.usedTokens], [250_000 - used, used])
    }))
  })
})

describe('A token bucket', () => {
  it('does not run backwards with a clock that does', () => {
    const bucket = new TokenBucket(60, 5000)
    assert.equal(bucket.take(60, 5000), 0)
    assert.equal(bucket.level(4000), 0)
    assert.equal(bucket.level(6000), 1)
  })
})
