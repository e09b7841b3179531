/**
 * A request whose backend has to wait. What the visitor sends meanwhile is kept without giving its window back, so that memory is
 * what one window lets it send; then the backend gets it in the same order, ahead of what comes later.
 */
import type { HeaderField } from "../protocol/bytes/header-field.ts";
import type { CancelReason, HttpRequest, RequestPhase, StreamSink, WebSocketRequest } from "../types.ts";
import type { ActiveRequest } from "./active-requests.ts";
import { failRequest } from "./failed-request.ts";
import { HeldBytes } from "./held-bytes.ts";
import { outcomeOfCancel, type RequestRecord } from "./request-record.ts";

type State =
  | "waiting"
  /** The backend has taken the request, and gets what was kept; as yet the stream's sink is this. */
  | "replaying"
  | "over";

export class HeldRequest implements StreamSink, ActiveRequest {
  readonly #request: HttpRequest | WebSocketRequest;
  readonly #record: RequestRecord;
  readonly #phase: RequestPhase;
  readonly #onOver: () => void;
  readonly #bytes = new HeldBytes();
  /** The visitor's side has ended. */
  #trailers: readonly HeaderField[] | undefined;
  #state: State = "waiting";
  /** The backend's, while replaying. */
  #sink: StreamSink = this;

  /**
   * Takes the stream's sink, and the record until the backend activates it.
   * @param phase where it is said to have ended when it does before `release`
   * @param onOver called once, when it was cancelled, or the backend has all of it
   */
  constructor(request: HttpRequest | WebSocketRequest, record: RequestRecord, phase: RequestPhase, onOver: () => void) {
    this.#request = request;
    this.#record = record;
    this.#phase = phase;
    this.#onOver = onOver;
    request.stream.sink = this;
    record.activate(this);
  }

  /** Never throws. @param serve takes the request as `Backend.serve` does; not called when the request was cancelled meanwhile */
  release(serve: () => void): void {
    if (this.#state !== "waiting") return;
    this.#state = "replaying";
    try {
      serve();
      this.#replay();
    } catch (error) {
      failRequest(this.#request, this.#record, error);
      this.#drop();
    }
    this.#state = "over";
    this.#onOver();
  }

  onData(chunk: Buffer): void {
    this.#bytes.push(chunk);
  }

  onEnd(trailers: readonly HeaderField[]): void {
    this.#trailers = trailers;
  }

  onCancel(reason: CancelReason): void {
    if (this.#state === "replaying") {
      this.#state = "over";
      this.#sink.onCancel(reason);
    } else if (this.#state === "waiting") {
      this.#state = "over";
      this.#drop();
      this.#record.finish(outcomeOfCancel(reason), this.#phase);
      this.#onOver();
    }
  }

  onWritable(): void {
    if (this.#state === "replaying") this.#sink.onWritable();
  }

  /** The proxy is closing. */
  cancel(reason: CancelReason): void {
    if (this.#state !== "waiting") return;
    this.onCancel(reason);
    this.#request.stream.abort();
  }

  #replay(): void {
    const { stream } = this.#request;
    this.#standBefore();
    for (let chunk = this.#bytes.shift(); chunk !== undefined; chunk = this.#bytes.shift()) {
      this.#sink.onData(chunk);
      if (this.#state !== "replaying") {
        this.#drop();
        return;
      }
      // A backend may hand its stream on when it has its turn.
      if (stream.sink !== this) this.#standBefore();
    }
    stream.sink = this.#sink;
    if (this.#trailers !== undefined) this.#sink.onEnd(this.#trailers);
  }

  /** What comes while the backend gets what was kept, because that one gives credit back or answers, waits behind it. */
  #standBefore(): void {
    const { stream } = this.#request;
    this.#sink = stream.sink;
    stream.sink = this;
  }

  #drop(): void {
    let bytes = 0;
    for (let chunk = this.#bytes.shift(); chunk !== undefined; chunk = this.#bytes.shift()) bytes += chunk.length;
    if (bytes > 0) this.#request.stream.consumed(bytes);
  }
}
