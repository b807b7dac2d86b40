/** How good and how honest probabilities are: accuracy, expected calibration error, area under the curve, temperature. */

/** Mean gap between confidence and accuracy over `BINS` equal bins of confidence (Guo et al. 2017). */
export function calibrationError(confidences: readonly number[], hits: readonly boolean[]): number {
  const bins = Array.from({ length: BINS }, () => ({ hits: 0, confidence: 0 }))
  confidences.forEach((confidence, at) => {
    const bin = bins[Math.min(BINS - 1, Math.floor(confidence * BINS))]!
    bin.hits += hits[at] === true ? 1 : 0
    bin.confidence += confidence
  })
  const gap = bins.reduce((sum, bin) => sum + Math.abs(bin.hits - bin.confidence), 0)
  return gap / Math.max(1, confidences.length)
}
const BINS = 10

/** Probability that a positive scores above a negative, ties counted half. */
export function areaUnderCurve(positives: readonly number[], negatives: readonly number[]): number {
  const all = [...positives.map((score) => ({ score, own: 1 })), ...negatives.map((score) => ({ score, own: 0 }))]
  all.sort((left, right) => left.score - right.score)
  let ranks = 0
  for (let start = 0; start < all.length; ) {
    let end = start
    while (end < all.length && all[end]!.score === all[start]!.score) end++
    for (let at = start; at < end; at++) if (all[at]!.own === 1) ranks += (start + end + 1) / 2
    start = end
  }
  const pairs = positives.length * negatives.length
  return pairs === 0 ? NaN : (ranks - (positives.length * (positives.length + 1)) / 2) / pairs
}

/** The temperature between 0.5 and 3 under which held-out labels are least surprising. */
export function bestTemperature(logProbabilities: readonly Float32Array[], labels: readonly number[]): number {
  let best = 1
  let least = Infinity
  for (let temperature = 0.5; temperature <= 3; temperature *= 1.05) {
    let surprise = 0
    logProbabilities.forEach((row, at) => {
      let sum = 0
      for (const value of row) sum += Math.exp(value / temperature)
      surprise += Math.log(sum) - row[labels[at]!]! / temperature
    })
    if (surprise < least) {
      least = surprise
      best = temperature
    }
  }
  return best
}
