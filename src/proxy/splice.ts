/**
 * Raw bytes both ways between a stream and a socket: an accepted WebSocket, or a TCP stream. Each direction ends on its own, so
 * that a side which has finished speaking still hears the answer (cloudflared cuts both at the first end).
 */
import type { EdgeStream } from "../types.ts";
import type { OriginConnection } from "./origin-connection.ts";
import type { Upload } from "./upload.ts";

export class Splice {
  readonly #stream: EdgeStream;
  readonly #connection: OriginConnection;
  readonly #upload: Upload;
  readonly #onDone: () => void;
  #originEnded = false;
  /** The origin takes nothing any more, but all it said is on its way. */
  #originGone = false;

  /** @param onDone called once, when both directions have ended cleanly */
  constructor(stream: EdgeStream, connection: OriginConnection, upload: Upload, onDone: () => void) {
    this.#stream = stream;
    this.#connection = connection;
    this.#upload = upload;
    this.#onDone = onDone;
  }

  fromOrigin(bytes: Buffer): void {
    if (!this.#stream.write(bytes, false)) this.#connection.pause();
  }

  originEnd(): void {
    if (this.#originEnded) return;
    this.#originEnded = true;
    this.#stream.end();
    if (this.#upload.finished) this.#done();
  }

  fromVisitor(chunk: Buffer): void {
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
  }

  /** The connection broke. False = the origin had ended its side before: what it said is complete. */
  brokeOff(): boolean {
    if (!this.#originEnded) return true;
    this.#originGone = true;
    this.#upload.stop();
    return false;
  }

  #done(): void {
    this.#connection.close();
    this.#onDone();
  }
}
