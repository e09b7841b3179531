/** One private-network TCP stream (wire § 4.6): dial the literal address, acknowledge with 200, then raw bytes both ways. */
import type { CancelReason, EdgeStream, OriginRequestOptions, StreamSink, TcpRequest } from "../types.ts";
import type { ActiveRequest } from "./active-requests.ts";
import type { OpenConnections } from "./open-connections.ts";
import { type ConnectionUser, OriginConnection } from "./origin-connection.ts";
import { connectionError } from "./origin-errors.ts";
import type { OriginTarget } from "./origin-target.ts";
import { outcomeOfCancel, type RequestRecord } from "./request-record.ts";
import { Splice } from "./splice.ts";
import { Upload, type UploadResources } from "./upload.ts";

export interface TcpContext {
  readonly options: OriginRequestOptions;
  readonly connections: OpenConnections;
  readonly resources: UploadResources;
}

export class TcpExchange implements StreamSink, ConnectionUser, ActiveRequest {
  readonly #stream: EdgeStream;
  readonly #record: RequestRecord;
  readonly #target: OriginTarget;
  readonly #upload: Upload;
  readonly #connection: OriginConnection;
  #splice: Splice | undefined;
  #done = false;

  /** Dials. */
  constructor(context: TcpContext, request: TcpRequest, target: OriginTarget, record: RequestRecord) {
    this.#stream = request.stream;
    this.#record = record;
    this.#target = target;
    this.#upload = new Upload(request.stream, context.resources, false, () => this.#splice?.uploadFinished());
    if (request.stream.bodyless) this.#upload.end([]);
    this.#connection = new OriginConnection(target, context.options, this, () => context.connections.closed());
    context.connections.opened();
  }

  onData(chunk: Buffer): void {
    if (this.#done) this.#stream.consumed(chunk.length);
    else if (this.#splice === undefined) this.#upload.push(chunk);
    else this.#splice.fromVisitor(chunk);
  }

  onEnd(): void {
    if (this.#done) return;
    if (this.#splice === undefined) this.#upload.end([]);
    else this.#splice.visitorEnd();
  }

  onCancel(reason: CancelReason): void {
    if (this.#done) return;
    this.#finish();
    this.#record.finish(outcomeOfCancel(reason), this.#splice === undefined ? "connect" : "splice");
    this.#connection.destroy();
  }

  onWritable(): void {
    if (!this.#done) this.#connection.resume();
  }

  cancel(reason: CancelReason): void {
    if (this.#done) return;
    this.onCancel(reason);
    this.#stream.abort();
  }

  onOpen(): void {
    this.#record.status = 200;
    this.#stream.respond({ status: 200, headers: [], contentLength: undefined, source: "origin" }, false);
    this.#splice = new Splice(this.#stream, this.#connection, this.#upload, () => {
      this.#finish();
      this.#record.finish("ok");
    });
    this.#upload.start(this.#connection.socket, "", false);
  }

  onBytes(bytes: Buffer): void {
    this.#splice?.fromOrigin(bytes);
  }

  onOriginEnd(): void {
    this.#splice?.originEnd();
  }

  onGone(cause: Error): void {
    if (this.#done || this.#splice?.brokeOff() === false) return;
    const error = connectionError(cause, "splice", this.#target.where);
    if (this.#splice === undefined) this.#record.status = 502;
    this.#finish();
    this.#record.finish(error.outcome, error.phase, error);
    this.#stream.abort();
  }

  #finish(): void {
    this.#done = true;
    this.#upload.stop();
  }
}
