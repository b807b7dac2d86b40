import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Dispatcher } from 'undici'
import { CLIENT_STALL_MS, openExchange } from '../../src/upstream/exchange.ts'
import { SilenceWatch } from '../../src/upstream/silence-watch.ts'
import { LiveBackend } from '../../src/fleet/live-backend.ts'
import { backendConfig } from '../fleet/fake-engine.ts'

/** An exchange whose head has come and whose output has begun, with a clock of its own. */
function exchange() {
  let nowMs = 0
  const watch = new SilenceWatch(() => nowMs)
  const calls: string[] = []
  const failures: string[] = []
  let handler: Dispatcher.DispatchHandler = {}
  const controller = {
    pause: () => void calls.push('pause'),
    resume: () => void calls.push('resume'),
    abort: (error: Error) => {
      calls.push('abort')
      handler.onResponseError?.(controller, error)
    },
  } as unknown as Dispatcher.DispatchController
  const dispatcher = { dispatch: (_options: unknown, given: Dispatcher.DispatchHandler) => {
    handler = given
    handler.onRequestStart?.(controller, undefined)
    return true
  } } as unknown as Dispatcher
  const backend = new LiveBackend(backendConfig('http://127.0.0.1:1', { timeouts: { connectMs: 1000, idleMs: 5000, firstTokenMs: null } }), 0)
  const opened = openExchange({ dispatcher, basePath: '' }, backend, '/v1/x', '{}', 'req_1', {
    onHead: () => undefined, onData: () => undefined, onEnd: () => undefined, onFailure: (kind) => void failures.push(kind),
  }, { watch, nowMs: () => nowMs })
  handler.onResponseStart?.(controller, 200, { 'content-type': 'text/event-stream' })
  opened.outputBegan()
  return {
    opened, calls, failures,
    pass(ms: number): void {
      nowMs += ms
      watch.sweep()
    },
  }
}

test('a backend that waits for a slow client is not silent', () => {
  const { opened, failures, pass } = exchange()
  opened.pause()
  pass(CLIENT_STALL_MS)
  assert.deepEqual(failures, [])
  opened.resume()
  pass(5000)
  assert.deepEqual(failures, [])
  pass(1)
  assert.deepEqual(failures, ['timeout'], 'reading again, it has its idle limit as before')
})

test('a client that never reads on loses its turn, and the backend is not blamed', () => {
  const { opened, calls, failures, pass } = exchange()
  opened.pause()
  pass(CLIENT_STALL_MS + 1)
  assert.deepEqual([failures, calls], [['stalled'], ['pause', 'abort']])
})

test('pausing twice and resuming twice is pausing and resuming once', () => {
  const { opened, calls } = exchange()
  opened.pause()
  opened.pause()
  opened.resume()
  opened.resume()
  assert.deepEqual(calls, ['pause', 'resume'])
})

test('behind the end of an answer the backend has a moment to end its body', () => {
  const { opened, calls, pass } = exchange()
  opened.linger()
  pass(900)
  assert.deepEqual(calls, [])
  pass(200)
  assert.deepEqual(calls, ['abort'])
})
