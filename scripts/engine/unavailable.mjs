/** The real engine cannot be had on this machine; the message says why in one sentence. */
export class EngineUnavailable extends Error {
  constructor(message, options) {
    super(message, options)
    this.name = 'EngineUnavailable'
  }
}
