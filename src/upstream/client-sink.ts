/** Where an answer goes; `http` implements it over a socket. After `end` or once `closed`, calls do nothing. */
export interface ClientSink {
  readonly closed: boolean
  head(status: number, headers: Readonly<Record<string, string>>): void
  /** False when the client reads more slowly than we write: wait for `onDrain`. */
  write(data: string | Uint8Array): boolean
  end(data?: string | Uint8Array): void
  /** Closes the connection without an ending: what was sent is not a whole answer. */
  cut(): void
  onDrain(listener: () => void): void
  /** The client went away before the answer ended. */
  onClosed(listener: () => void): void
}
