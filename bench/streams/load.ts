/** COUNT streams at once; sends {lagsMs, failed} to its parent: the time from an event's writing to its reading. */
import { Pool } from 'undici'

process.on('message', (order: { origin: string; count: number }) => {
  void run(order).then((result) => process.send?.(result))
})

async function run({ origin, count }: { origin: string; count: number }): Promise<{ lagsMs: number[]; failed: number }> {
  const pool = new Pool(origin, { connections: count, headersTimeout: 0, bodyTimeout: 0 })
  const lagsMs: number[] = []
  let failed = 0
  await Promise.all(Array.from({ length: count }, async (_, stream) => {
    const body = JSON.stringify({ model: 'bench', stream: true, messages: [{ role: 'user', content: `stream ${stream}` }] })
    const answer = await pool.request({ method: 'POST', path: '/v1/chat/completions', headers: { 'content-type': 'application/json' }, body })
    let tail = ''
    for await (const chunk of answer.body) {
      const now = performance.timeOrigin + performance.now()
      const text = (chunk as Buffer).toString('latin1')
      for (const found of text.matchAll(/@([\d.]+)@/g)) lagsMs.push(now - Number(found[1]))
      tail = text.slice(-16)
    }
    if (answer.statusCode !== 200 || !tail.includes('[DONE]')) failed++
  }))
  await pool.close()
  return { lagsMs, failed }
}
