/** The load: COUNT requests at CONCURRENCY to one URL, each answer read to its end. Sends {seconds, ttftMs[]} to its parent. */
import { Pool } from 'undici'

export type LoadOrder = { readonly origin: string; readonly path: string; readonly body: string; readonly count: number; readonly concurrency: number }

process.on('message', (order: LoadOrder) => {
  void run(order).then((result) => process.send?.(result))
})

async function run(order: LoadOrder): Promise<{ seconds: number; ttftMs: number[]; failed: number }> {
  const pool = new Pool(order.origin, { connections: order.concurrency, pipelining: 1, headersTimeout: 0, bodyTimeout: 0 })
  const ttftMs: number[] = []
  let left = order.count
  let failed = 0
  const started = performance.now()
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const at = performance.now()
      let first = true
      let tail = ''
      const answer = await pool.request({ method: 'POST', path: order.path, headers: { 'content-type': 'application/json' }, body: order.body })
      for await (const chunk of answer.body) {
        if (first) ttftMs.push(performance.now() - at)
        first = false
        tail = (chunk as Buffer).toString('latin1').slice(-16)
      }
      if (answer.statusCode !== 200 || !tail.includes('[DONE]')) failed++
    }
  }
  await Promise.all(Array.from({ length: order.concurrency }, worker))
  await pool.close()
  return { seconds: (performance.now() - started) / 1000, ttftMs, failed }
}
