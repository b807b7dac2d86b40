import { readFileSync } from 'node:fs'
import { seededRandom } from '../../sim/random.ts'
import { invert, multiply } from '../../src/learn/expertise-belief.ts'
import { pairOf, pairsOf } from '../../src/learn/expertise-evidence.ts'
import type { Subject } from '../../src/model/quality.ts'
import { bestSingle, drawPools, mean, perfectLabels, scoreOf, splitOf, type Pool } from './pools.ts'
import { outcomeMatrices } from './subjects.ts'
const subjects = (process.env['SUB'] ?? 'crossed') as 'crossed' | 'shipped'
const matrices = outcomeMatrices(process.argv[2]!)
const all = matrices.flatMap((m) => m.questions)
const D = 256
const center = new Float64Array(D)
for (const q of all) for (let d = 0; d < D; d++) center[d]! += q.shipped.embedding![d]! / all.length
type Vec = Float64Array
const dot = (a: ArrayLike<number>, b: ArrayLike<number>) => { let s = 0; for (let i = 0; i < a.length; i++) s += a[i]! * b[i]!; return s }
function pca(k: number): Vec[] {
  const C = Array.from({ length: D }, () => new Float64Array(D))
  for (const q of all.filter((_, i) => i % 3 === 0)) { const e = q.shipped.embedding!; for (let a = 0; a < D; a++) { const va = e[a]! - center[a]!; for (let b = 0; b <= a; b++) C[a]![b]! += va * (e[b]! - center[b]!) } }
  for (let a = 0; a < D; a++) for (let b = 0; b < a; b++) C[b]![a] = C[a]![b]!
  const axes: Vec[] = []
  const random = seededRandom(1)
  for (let i = 0; i < k; i++) {
    let v = Float64Array.from({ length: D }, () => random() - 0.5)
    for (let it = 0; it < 20; it++) {
      const w = Float64Array.from(C, (row) => dot(row, v))
      for (const ax of axes) { const d = dot(ax, w); for (let a = 0; a < D; a++) w[a]! -= d * ax[a]! }
      const n = Math.hypot(...w); v = w.map((x) => x / n)
    }
    axes.push(v)
  }
  return axes
}
function kmeans(k: number, seed: number, from: readonly { shipped: Subject }[]): Vec[] {
  const random = seededRandom(seed)
  let cs = Array.from({ length: k }, () => Float64Array.from(from[Math.floor(random() * from.length)]!.shipped.embedding!))
  for (let it = 0; it < 10; it++) {
    const next = cs.map(() => new Float64Array(D))
    for (const q of from) { const e = q.shipped.embedding!; let best = 0, bv = -9; cs.forEach((c, i) => { const d = dot(c, e); if (d > bv) { bv = d; best = i } }); for (let a = 0; a < D; a++) next[best]![a]! += e[a]! }
    cs = next.map((c) => { const n = Math.hypot(...c) || 1; return c.map((x) => x / n) })
  }
  return cs
}
type Extra = (e: Float32Array) => ArrayLike<number>
const shapes = JSON.parse(readFileSync('.cache/shapes.json', 'utf8')) as number[][]
const S = shapes[0]!.length
const sm = new Float64Array(S), ss = new Float64Array(S)
for (const x of shapes) for (let i = 0; i < S; i++) sm[i]! += x[i]! / shapes.length
for (const x of shapes) for (let i = 0; i < S; i++) ss[i]! += (x[i]! - sm[i]!) ** 2 / shapes.length
const shapeFor = new Map<Float32Array, Vec>()
all.forEach((q, at) => { const v = Float64Array.from(shapes[at]!, (x, i) => ss[i]! > 0 ? (x - sm[i]!) / Math.sqrt(ss[i]!) : 0); shapeFor.set(q.shipped.embedding!, v); shapeFor.set(q.crossed.embedding!, v) })

const linear = (axes: Vec[], scale: number): Extra => (e) => axes.map((ax) => scale * (dot(ax, e) - dot(ax, center)))
const soft = (cs: Vec[], beta: number): Extra => (e) => { const l = cs.map((c) => beta * dot(c, e)); const m = Math.max(...l); const x = l.map((v) => Math.exp(v - m)); const s = x.reduce((a, b) => a + b, 0); return x.map((v) => v / s) }
const topicsOf = new Map<string, number>(), intentsOf = new Map<string, number>()
for (const q of all) for (const s of [q.shipped, q.crossed]) { for (const [t] of s.topics) if (!topicsOf.has(t)) topicsOf.set(t, topicsOf.size); if (!intentsOf.has(s.intent[0])) intentsOf.set(s.intent[0], intentsOf.size) }
const priorSd: Record<string, number> = { l: .15, t: .08, i: .05, c: .1, m: .1, x: .05 }
const p48 = pca(48)
const km = (k: number, b: number, set = all, seed = 5) => soft(kmeans(k, seed, set), b)

const joint = (alpha: number) => (e: Float32Array): Vec => { const v = new Float64Array(D + S); for (let d = 0; d < D; d++) v[d] = e[d]!; const h = shapeFor.get(e)!; for (let i = 0; i < S; i++) v[D + i] = alpha * Math.max(-2.5, Math.min(2.5, h[i]!)); return v }
const corpus = JSON.parse(readFileSync('.cache/corpus.json', 'utf8')) as [string, number[], number[]][]
const corpusOf = corpus.map(([, e, h]) => { const f = Float32Array.from(e); shapeFor.set(f, Float64Array.from(h, (x, i) => ss[i]! > 0 ? (x - sm[i]!) / Math.sqrt(ss[i]!) : 0)); return f })
const mm = matrices[0]!.questions.map((q) => q.shipped.embedding!), lr = matrices[1]!.questions.map((q) => q.shipped.embedding!)
function kmJoint(k: number, beta: number, alpha: number, seed = 5, from: Float32Array[] = [...mm, ...lr]): Extra {
  const to = joint(alpha)
  const xs = from.map(to)
  const random = seededRandom(seed)
  let cs = Array.from({ length: k }, () => xs[Math.floor(random() * xs.length)]!.slice())
  const d2 = (a: Vec, b: Vec) => { let s = 0; for (let i = 0; i < a.length; i++) s += (a[i]! - b[i]!) ** 2; return s }
  for (let it = 0; it < 10; it++) {
    const next = cs.map(() => new Float64Array(D + S)), n = cs.map(() => 0)
    for (const x of xs) { let best = 0, bv = Infinity; cs.forEach((c, i) => { const d = d2(c, x); if (d < bv) { bv = d; best = i } }); n[best]!++; for (let a = 0; a < D + S; a++) next[best]![a]! += x[a]! }
    cs = next.map((c, i) => n[i]! > 0 ? c.map((x) => x / n[i]!) : cs[i]!)
  }
  return (e) => { const x = to(e); const l = cs.map((c) => -beta / 2 * d2(c, x)); const m = Math.max(...l); const w = l.map((v) => Math.exp(v - m)); const s = w.reduce((a, b) => a + b, 0); return w.map((v) => v / s) }
}
const both = (a: Extra, b: Extra): Extra => (e) => [...Array.from(a(e)), ...Array.from(b(e))]
const shapeLinear: Extra = (e) => shapeFor.get(e)!

function fitted(k: number, gamma: number, ratio: number, seed: number, pool: Float32Array[], n: number): Extra {
  const random = seededRandom(seed)
  const sample = Array.from({ length: n }, () => pool[Math.floor(random() * pool.length)]!)
  const raw = sample.map((e) => ({ e, h: shapeFor.get(e)! }))
  // own standardisation
  const hm = new Float64Array(S), hs = new Float64Array(S), em = new Float64Array(D)
  for (const { e, h } of raw) { for (let i = 0; i < S; i++) hm[i]! += h[i]! / n; for (let d = 0; d < D; d++) em[d]! += e[d]! / n }
  let ev = 0
  for (const { e, h } of raw) { for (let i = 0; i < S; i++) hs[i]! += (h[i]! - hm[i]!) ** 2 / n; for (let d = 0; d < D; d++) ev += (e[d]! - em[d]!) ** 2 / n }
  const live = hs.filter((v) => v > 1e-6).length
  const alpha = Math.sqrt(ratio * ev / live)
  const to = (e: Float32Array): Vec => { const v = new Float64Array(D + S); for (let d = 0; d < D; d++) v[d] = e[d]! - em[d]!; const h = shapeFor.get(e)!; for (let i = 0; i < S; i++) if (hs[i]! > 1e-6) v[D + i] = alpha * Math.max(-2.5, Math.min(2.5, (h[i]! - hm[i]!) / Math.sqrt(hs[i]!))); return v }
  const xs = sample.map(to)
  const d2 = (a: Vec, b: Vec) => { let s = 0; for (let i = 0; i < a.length; i++) s += (a[i]! - b[i]!) ** 2; return s }
  let bestCs: Vec[] = [], bestInertia = Infinity
  for (let restart = 0; restart < 3; restart++) {
    let cs = [xs[Math.floor(random() * n)]!.slice()]
    const dist = xs.map((x) => d2(x, cs[0]!))
    while (cs.length < k) { let r = random() * dist.reduce((a, b) => a + b, 0), at = 0; while (at < n - 1 && (r -= dist[at]!) > 0) at++; const c = xs[at]!.slice(); cs.push(c); xs.forEach((x, i) => { dist[i] = Math.min(dist[i]!, d2(x, c)) }) }
    let inertia = 0
    for (let it = 0; it < 8; it++) {
      inertia = 0
      const next = cs.map(() => new Float64Array(D + S)), cnt = cs.map(() => 0)
      for (const x of xs) { let best = 0, bv = Infinity; cs.forEach((c, i) => { const d = d2(c, x); if (d < bv) { bv = d; best = i } }); inertia += bv / n; cnt[best]!++; for (let a = 0; a < D + S; a++) next[best]![a]! += x[a]! }
      cs = next.map((c, i) => cnt[i]! > 0 ? c.map((x) => x / cnt[i]!) : cs[i]!)
    }
    if (inertia < bestInertia) { bestInertia = inertia; bestCs = cs }
  }
  const beta = gamma / bestInertia
  return (e) => { const x = to(e); const l = bestCs.map((c) => -beta / 2 * d2(c, x)); const m = Math.max(...l); const w = l.map((v) => Math.exp(v - m)); const s = w.reduce((a, b) => a + b, 0); return w.map((v) => v / s) }
}
const own = (k: number, g: number, r: number, n: number): [string, string, Extra | null][] => [1, 2].map((seed) => { const a = fitted(k, g, r, seed, mm, n), b = fitted(k, g, r, seed, lr, n); const isMm = new Set(mm); return [`fit${k} g${g} r${r} n${n}`, 'ti', (e: Float32Array) => (isMm.has(e) || crossedOfMm.has(e) ? a : b)(e)] })
const crossedOfMm = new Set(matrices[0]!.questions.map((q) => q.crossed.embedding!))
const V: [string, string, Extra | null][] = [
  ...own(24, 4, 1, 500), ...own(24, 8, 1, 500), ...own(24, 16, 1, 500), ...own(24, 8, .5, 500), ...own(24, 8, 2, 500), ...own(24, 8, 1, 250), ...own(24, 8, 1, 1000), ...own(16, 8, 1, 500), ...own(32, 8, 1, 500), ...own(48, 8, 1, 500),
]
const SPLITS = 8
for (const matrix of matrices) {
  const splits = Array.from({ length: SPLITS }, (_, seed) => splitOf(matrix, seededRandom(1000 + seed)))
  const sets: [string, Pool[], number][] = []
  for (const [size, within] of [[2, null], [3, null], [4, null], [6, null], [3, .02]] as const) {
    const pools = drawPools(matrix, splits, { size, count: 8, within, least: 0.01 }, seededRandom(size + (within ? 100 : 0)))
    if (pools.length) sets.push([`${size}${within ? 'c' : ''}`, pools, mean(pools.flatMap((p) => splits.map((s) => perfectLabels(s, p.members) - scoreOf(s.test, bestSingle(p)))))])
  }
  console.log(sets.map(([n, p, h]) => `${n}: ${p.length} pools, ${(100 * h).toFixed(2)}`).join('; '))
  for (const [name, use, extra] of V) {
    const features = (s: Subject): Vec => {
      const e = extra ? extra(s.embedding!) : []
      const x = new Float64Array(1 + topicsOf.size + intentsOf.size + 1 + topicsOf.size * intentsOf.size * (use.includes('x') ? 1 : 0) + e.length)
      x[0] = 1
      const T = topicsOf.size, I = intentsOf.size
      if (use.includes('t')) for (const [t, p] of s.topics) x[1 + topicsOf.get(t)!] = p
      if (use.includes('i')) x[1 + T + intentsOf.get(s.intent[0])!] = s.intent[1]
      if (use.includes('c')) x[1 + T + I] = s.complexity - .5
      if (use.includes('x')) for (const [t, p] of s.topics) if (p > .2) x[2 + T + I + topicsOf.get(t)! * I + intentsOf.get(s.intent[0])!] = p * s.intent[1]
      x.set(Array.from(e), x.length - e.length)
      return x
    }
    const kinds = (F: number, e: number) => Array.from({ length: F }, (_, f) => f === 0 ? 'l' : f <= topicsOf.size ? 't' : f <= topicsOf.size + intentsOf.size ? 'i' : f === topicsOf.size + intentsOf.size + 1 ? 'c' : f >= F - e ? 'm' : 'x')
    const e = extra ? extra(all[0]!.shipped.embedding!).length : 0
    const X = new Map(matrix.questions.map((q) => [q, features(q[subjects])]))
    const F = X.get(matrix.questions[0]!)!.length, kind = kinds(F, e)
    // drop never-used features
    const used = Array.from({ length: F }, (_, f) => f).filter((f) => matrix.questions.some((q) => X.get(q)![f] !== 0))
    const out = sets.map(() => [] as number[])
    let lastVar: Record<string, number> = {}
    for (const split of splits) {
      const n = used.length
      const A = new Float64Array(pairsOf(n))
      const b = matrix.models.map(() => new Float64Array(n))
      for (const q of split.learn) { const x = X.get(q)!; const u = used.map((f) => x[f]!); for (let i = 0; i < n; i++) { if (u[i] === 0) continue; for (let j = 0; j <= i; j++) A[pairOf(i, j)]! += u[i]! * u[j]!; for (let m = 0; m < b.length; m++) b[m]![i]! += u[i]! * q.scores[m]! } }
      const vars: Record<string, number> = {}
      for (const k in priorSd) vars[k] = priorSd[k]! ** 2
      const noise = .18
      let mu = new Float64Array(n)
      let thetas: Vec[] = []
      for (let it = 0; it < 6; it++) {
        const S = A.map((v) => v / noise)
        for (let i = 0; i < n; i++) S[pairOf(i, i)]! += 1 / vars[kind[used[i]!]!]!
        invert(S, n)
        thetas = b.map((bm) => { const r = new Float64Array(n), o = new Float64Array(n); for (let i = 0; i < n; i++) r[i] = bm[i]! / noise + mu[i]! / vars[kind[used[i]!]!]!; multiply(S, r, o); return o })
        mu = new Float64Array(n); for (const t of thetas) for (let i = 0; i < n; i++) mu[i]! += t[i]! / thetas.length
        const sq: Record<string, number> = {}, known: Record<string, number> = {}
        for (let i = 0; i < n; i++) { const k = kind[used[i]!]!; const g = 1 - S[pairOf(i, i)]! / vars[k]!; known[k] = (known[k] ?? 0) + g * thetas.length; for (const t of thetas) sq[k] = (sq[k] ?? 0) + (t[i]! - mu[i]!) ** 2 }
        for (const k in sq) vars[k] = (sq[k]! + 4 * priorSd[k]! ** 2) / (known[k]! + 4)
        lastVar = vars
      }
      const pred = split.test.map((q) => { const x = X.get(q)!; const u = used.map((f) => x[f]!); return thetas.map((t) => dot(t, u)) })
      sets.forEach(([, pools], at) => {
        for (const p of pools) {
          const got = mean(split.test.map((q, i) => { let best = p.members[0]!; for (const m of p.members) if (pred[i]![m]! > pred[i]![best]!) best = m; return q.scores[best]! }))
          out[at]!.push(got - scoreOf(split.test, bestSingle(p)))
        }
      })
    }
    const shares = out.map((o, at) => mean(o) / sets[at]![2])
    console.log(matrix.name.padEnd(10), name.padEnd(14), sets.map(([n], at) => `${n}: ${shares[at]!.toFixed(2)}`).join('  '), ' mean', mean(shares).toFixed(3), ' sd', Object.entries(lastVar).filter(([k]) => kind.some((x, f) => x === k && used.includes(f))).map(([k, v]) => `${k} ${Math.sqrt(v).toFixed(3)}`).join(' '))
  }
}
