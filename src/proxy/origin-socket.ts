/**
 * A plain socket on which a failed write does not lose the reply. An origin that refuses an upload answers and closes; unread
 * request bytes make its kernel reset the connection, and our next write fails while the answer still waits to be read. Node
 * destroys a socket at its first failed write, and what was received with it: a quarter of such answers were lost.
 */
import net from "node:net";

/** How long after a failed write the rest may take. Nothing arrives behind a reset, so that this is the time to read a buffer. */
const LINGER_MS = 1_000;

function isWriteFailure(error: Error | undefined): error is Error {
  return error !== undefined && "syscall" in error && error.syscall === "write";
}

export class OriginSocket extends net.Socket {
  #failure: Error | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** Node's streams end a socket by calling this; a write's failure waits until everything has been read. */
  override destroy(error?: Error): this {
    if (isWriteFailure(error) && this.#failure === undefined && !this.readableEnded && !this.destroyed) {
      this.#failure = error;
      this.#timer = setTimeout(() => this.#expire(), LINGER_MS);
      return this;
    }
    clearTimeout(this.#timer);
    return super.destroy(error);
  }

  override push(chunk: Buffer | null, encoding?: BufferEncoding): boolean {
    if (chunk !== null || this.#failure === undefined) return super.push(chunk, encoding);
    this.destroy(this.#failure);
    return false;
  }

  #expire(): void {
    // A reader that was told to wait has not seen everything yet.
    if (this.isPaused()) this.#timer = setTimeout(() => this.#expire(), LINGER_MS);
    else this.destroy(this.#failure);
  }
}
