import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { IdleQueue } from '../../src/idle-queue.ts'

test('work that can wait runs after a moment of rest, one task in each turn of the event loop', () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    const queue = new IdleQueue()
    const ran: number[] = []
    for (const task of [1, 2, 3]) queue.run(() => ran.push(task))
    mock.timers.tick(19)
    assert.deepEqual(ran, [])
    mock.timers.tick(1)
    assert.deepEqual(ran, [1])
    mock.timers.tick(1)
    assert.deepEqual(ran, [1, 2])
    mock.timers.tick(10)
    assert.deepEqual([ran, queue.size], [[1, 2, 3], 0])
  } finally {
    mock.timers.reset()
  }
})

test('beyond its bound the oldest work is let go and counted', () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    const queue = new IdleQueue()
    const ran: number[] = []
    for (let task = 0; task < 1010; task++) queue.run(() => ran.push(task))
    assert.deepEqual([queue.size, queue.dropped], [1000, 10])
    mock.timers.tick(20)
    assert.deepEqual(ran, [10])
  } finally {
    mock.timers.reset()
  }
})
