/**
 * A conversation that goes on: the model that served it so far keeps it unless another one is clearly better.
 *
 *   incumbent      its mean
 *   another one    its mean - deviation of the difference - style break
 *
 * What is learned by trying is learned from conversations that begin; one that goes on is not tried out on every turn, since
 * each change of model breaks its style and its cache. The cache is priced where seconds are (the other model's prompt is
 * cold there), so only the style is priced here. When the subject drifts to where another model is known to be better,
 * the difference exceeds its uncertainty and the conversation changes hands.
 */
import type { ExpectedQuality } from '../model/quality.ts'

/**
 * Expected quality that a change of model must gain beside what its cold prompt costs. An assumption: two hundredths are
 * about what perfect topic labels gain on public outcome matrices (2 to 3 points), so a change must be worth a good routing.
 */
const STYLE_BREAK = 0.02

/** The same models in the same order, drawn so that the incumbent is preferred. */
export function keepIncumbent(expected: readonly ExpectedQuality[], incumbent: string): readonly ExpectedQuality[] {
  const served = expected.find(({ model }) => model === incumbent)
  if (served === undefined) return expected
  return expected.map((quality) => {
    if (quality === served) return { ...quality, drawn: quality.mean }
    const doubt = Math.hypot(quality.deviation, served.deviation)
    return { ...quality, drawn: quality.mean - doubt - STYLE_BREAK }
  })
}
