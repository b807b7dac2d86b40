/**
 * What each backend served lately: the decayed centre of its conversations' embeddings, and how near a conversation is to it.
 *
 *   centre <- 0.98 * centre + embedding          likeness = max(0, cosine)
 *
 * Reported as `semanticScore` where all candidates serve the same model, and without weight in the decision: within one
 * application nearness of meaning says nothing about shared prefixes (FINGERPRINT.md section 6 of the design documents,
 * docs/scorers.md). 256 numbers a backend; forgotten with it. A turn costs one pass over them.
 */
export class ServedCentres {
  readonly #centres = new Map<number, Float32Array>()

  served(backendIndex: number, embedding: Float32Array): void {
    const centre = this.#centres.get(backendIndex)
    if (centre === undefined || centre.length !== embedding.length) {
      this.#centres.set(backendIndex, Float32Array.from(embedding))
      return
    }
    for (let at = 0; at < centre.length; at++) centre[at] = KEPT * centre[at]! + embedding[at]!
  }

  /** 0..1; null where the backend served nothing that was read. */
  likeness(backendIndex: number, embedding: Float32Array): number | null {
    const centre = this.#centres.get(backendIndex)
    if (centre === undefined || centre.length !== embedding.length) return null
    let [product, length, own] = [0, 0, 0]
    for (let at = 0; at < centre.length; at++) {
      product += centre[at]! * embedding[at]!
      length += centre[at]! ** 2
      own += embedding[at]! ** 2
    }
    return length === 0 || own === 0 ? 0 : Math.max(0, product / Math.sqrt(length * own))
  }

  forget(backendIndex: number): void {
    this.#centres.delete(backendIndex)
  }
}

/** The last fifty turns: some conversations. */
const KEPT = 0.98
