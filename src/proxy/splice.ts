/**
 * Raw bytes both ways between a stream and a socket: an accepted WebSocket, or a TCP stream. Each direction ends on its own, so
 * that a side which has finished speaking still hears the answer (cloudflared cuts both at the first end).
 */
import type { EdgeStream } from "../types.ts";
import type { OriginConnection } from "./origin-connection.ts";
import { OriginError } from "./origin-errors.ts";
import type { Upload } from "./upload.ts";

/**
 * One side has ended, and the other says nothing: so long it may think, before it counts as gone. A side that never ends would keep
 * its socket and its place among the flows for ever. What RFC 5382 § 5 asks of NATs for half-closed connections.
 */
const HALF_CLOSED_SILENCE_MS = 4 * 60_000;

export class Splice {
  readonly #stream: EdgeStream;
  readonly #connection: OriginConnection;
  readonly #upload: Upload;
  readonly #onDone: () => void;
  readonly #onSilent: (error: OriginError) => void;
  #silence: NodeJS.Timeout | undefined;
  #originEnded = false;
  /** The origin takes nothing any more, but all it said is on its way. */
  #originGone = false;

  /**
   * @param onDone called once, when both directions have ended, or the visitor has nothing to say to an origin that has ended
   * @param onSilent the origin has gone without ending its side
   */
  constructor(
    stream: EdgeStream,
    connection: OriginConnection,
    upload: Upload,
    onDone: () => void,
    onSilent: (error: OriginError) => void,
  ) {
    this.#stream = stream;
    this.#connection = connection;
    this.#upload = upload;
    this.#onDone = onDone;
    this.#onSilent = onSilent;
  }

  fromOrigin(bytes: Buffer): void {
    this.#silence?.refresh();
    if (!this.#stream.write(bytes, false)) this.#connection.pause();
  }

  originEnd(): void {
    if (this.#originEnded) return;
    this.#originEnded = true;
    this.#stream.end();
    if (this.#upload.finished) this.#done();
    else this.#awaitSilence();
  }

  fromVisitor(chunk: Buffer): void {
    this.#silence?.refresh();
    if (this.#originGone) {
      // The visitor still sends, so it has not noticed: only a reset tells it.
      this.#stream.consumed(chunk.length);
      this.#stream.abort();
      this.#done();
      return;
    }
    this.#upload.push(chunk);
  }

  visitorEnd(): void {
    if (this.#originGone) this.#done();
    else this.#upload.end([]);
  }

  /** The socket has taken all that the visitor sent, and its end. */
  uploadFinished(): void {
    this.#connection.socket.end();
    if (this.#originEnded) this.#done();
    else this.#awaitSilence();
  }

  /** The connection broke. False = the origin had ended its side before: what it said is complete. */
  brokeOff(): boolean {
    if (!this.#originEnded) return true;
    this.#originGone = true;
    this.#upload.stop();
    return false;
  }

  /** Its owner is done with it. */
  stop(): void {
    clearTimeout(this.#silence);
    this.#silence = undefined;
  }

  #awaitSilence(): void {
    this.#silence ??= setTimeout(() => this.#silent(), HALF_CLOSED_SILENCE_MS);
  }

  #silent(): void {
    const { target } = this.#connection;
    if (!this.#originEnded) {
      const problem = `${target.where} has said nothing for ${HALF_CLOSED_SILENCE_MS} ms since the visitor's end`;
      this.#onSilent(new OriginError("origin-timeout", "splice", problem));
      return;
    }
    // Everything was delivered; only a reset ends the visitor's side.
    this.#stream.abort();
    this.#connection.destroy();
    this.#onDone();
  }

  #done(): void {
    this.#connection.close();
    this.#onDone();
  }
}
