import { seededRandom } from '../../sim/random.ts'
import { Expertise } from '../../src/learn/expertise.ts'
import { bestSingle, drawPools, headroom, mean, splitOf, type Pool } from './pools.ts'
import { follow, offLine, WINDOW } from './simulation.ts'
import { outcomeMatrices } from './subjects.ts'
const SEEDS = Number(process.env['SEEDS'] ?? 3), COUNT = Number(process.env['POOLS'] ?? 4), OUT = Number(process.env['OUT'] ?? 8000)
const FLIP = Number(process.env['FLIP'] ?? 0)
const opts = JSON.parse(process.env['X'] ?? '{}')
const subjects = (process.env['SUB'] ?? 'crossed') as 'crossed' | 'shipped'
const least = Number(process.env['LEAST'] ?? 0.01)
const started = performance.now()
for (const given of outcomeMatrices(process.argv[2]!)) {
  const matrix = process.env['NOKIND'] ? { ...given, questions: given.questions.map((q) => { const { embedding: _a, shape: _b, ...crossed } = q.crossed; return { ...q, crossed } }) } : given
  if (process.env['SET'] && process.env['SET'] !== matrix.name) continue
  for (const [size, within] of [[2, null], [3, null], [4, null], [6, null], [3, .02]] as const) {
    if (process.env['SIZES'] && !process.env['SIZES'].split(',').includes(size + (within ? 'c' : ''))) continue
    const splits = Array.from({ length: 8 }, (_, seed) => splitOf(matrix, seededRandom(1000 + seed)))
    const pools: Pool[] = drawPools(matrix, splits, { size, count: COUNT, within, least }, seededRandom(size + (within ? 100 : 0)))
    let perfect = 0, off = 0; const fr = new Map<number, number>(), dr = new Map<number, number>(); const win: number[] = [], avg: number[] = []
    let n = 0; let worst = 1
    for (const pool of pools) {
      const poolWin: number[] = []
      for (let seed = 0; seed < SEEDS; seed++) {
        const split = splits[seed]!
        const make = (s: number) => { const e: Expertise = new Expertise({ halfLifeMs: null, exploration: null, shareBetweenTenants: false, priors: {}, random: seededRandom(s), wallMs: () => 0 }); Object.assign(e, opts); return e }
        if (!process.env['NOOFF']) off += offLine(pool, split, make(7), subjects)
        if (OUT === 0) { perfect += headroom(pool, [split]); n++; continue }
        const run = follow(pool, split, make(seed), { outcomes: OUT, freezeAt: [1000, 2000, 4000, 8000], subjects, flipped: FLIP, random: seededRandom(50 + seed) })
        perfect += run.perfectGain
        for (const [k, v] of run.frozenGain) fr.set(k, (fr.get(k) ?? 0) + v)
        for (const [k, v] of run.drawnGain) dr.set(k, (dr.get(k) ?? 0) + v)
        run.windows.forEach((w, i) => { win[i] = (win[i] ?? 0) + w.overBest; avg[i] = (avg[i] ?? 0) + w.overAverage; poolWin[i] = (poolWin[i] ?? 0) + w.overBest / SEEDS })
        n++
      }
      for (let i = 4; i + 1 < poolWin.length; i += 2) worst = Math.min(worst, (poolWin[i]! + poolWin[i + 1]!) / 2)
    }
    const s = (x: number) => (x / perfect).toFixed(2)
    const span = (a: number, b: number, of = win) => mean(of.slice(a / WINDOW, b / WINDOW))
    console.log(matrix.name.padEnd(10), `${size}${within ? 'c' : ' '}`, `pools ${pools.length} perfect ${(100 * perfect / n).toFixed(2)} head ${(100 * mean(pools.map((p) => headroom(p, splits)))).toFixed(2)} off ${s(off)} |`, [...fr].map(([k, v]) => `${k}:${s(v)}/${s(dr.get(k)!)}`).join(' '),
      `| learning 0-500 ${s(span(0, 500))} -1k ${s(span(500, 1000))} -2k ${s(span(1000, 2000))} -4k ${s(span(2000, 4000))} -8k ${s(span(4000, 8000))} | avg0-500 ${(100 * avg[0]! / n).toFixed(1)} worst1k ${(100 * worst).toFixed(2)}`)
    void bestSingle
  }
}
console.log(((performance.now() - started) / 1000).toFixed(0), 's')
