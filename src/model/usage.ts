/** Token counts of one answer, as the engine reported them. `cachedTokens` is null where the engine hides it. */
export type Usage = {
  readonly promptTokens: number
  readonly cachedTokens: number | null
  readonly outputTokens: number
  readonly reasoningTokens: number | null
}
