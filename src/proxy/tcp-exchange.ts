/**
 * One connection of a visitor to an address: a private-network stream (wire § 4.6), or what a TCP service carries. Dials, tells the
 * visitor, then passes bytes both ways. What the visitor sends meanwhile is kept, within the stream's window.
 */
import type { Socket } from "node:net";
import type {
  CancelReason,
  EdgeStream,
  OriginRequestOptions,
  OutcomeClass,
  RequestPhase,
  StreamSink,
} from "../types.ts";
import type { ActiveRequest } from "./active-requests.ts";
import type { OpenConnections } from "./open-connections.ts";
import { type ConnectionUser, MAX_TIMER_MS, OriginConnection } from "./origin-connection.ts";
import { connectionError, OriginError } from "./origin-errors.ts";
import type { OriginTarget } from "./origin-target.ts";
import { outcomeOfCancel, type RequestRecord } from "./request-record.ts";
import { Splice } from "./splice.ts";
import { Upload, type UploadResources } from "./upload.ts";

/** What an address gets where there are others, if there is as much: Go's number. */
const MIN_SHARE_MS = 2_000;

export interface TcpContext {
  readonly options: OriginRequestOptions;
  readonly connections: OpenConnections;
  readonly resources: UploadResources;
}

/** What differs between kinds of streams. */
export interface TcpVisitor {
  /** The connection is open: tells the visitor, before the first byte from there. Returns what goes ahead of the visitor's first byte, in latin1. */
  opened(socket: Socket): string;
  /** There is no connection: tells the visitor, whose stream ends with it. */
  refused(outcome: OutcomeClass, error: Error): void;
  /** Called once, however it ended. */
  finished?(): void;
}

export class TcpExchange implements StreamSink, ConnectionUser, ActiveRequest {
  readonly #context: TcpContext;
  readonly #stream: EdgeStream;
  readonly #record: RequestRecord;
  readonly #visitor: TcpVisitor;
  readonly #upload: Upload;
  /** Not tried yet. */
  #targets: readonly OriginTarget[] = [];
  /** Of connecting, to whichever. */
  #deadline = Number.POSITIVE_INFINITY;
  #where = "";
  #connection: OriginConnection | undefined;
  #splice: Splice | undefined;
  #idle: NodeJS.Timeout | undefined;
  #done = false;

  constructor(context: TcpContext, stream: EdgeStream, record: RequestRecord, visitor: TcpVisitor) {
    this.#context = context;
    this.#stream = stream;
    this.#record = record;
    this.#visitor = visitor;
    this.#upload = new Upload(stream, context.resources, false, () => this.#splice?.uploadFinished());
    if (stream.bodyless) this.#upload.end([]);
  }

  /** Once: connects to the first of `targets`, in their order, that can be reached. There is at least one. */
  dial(targets: readonly OriginTarget[]): void {
    if (this.#done) return;
    this.#targets = targets;
    const { connectTimeoutMs } = this.#context.options;
    if (connectTimeoutMs > 0) this.#deadline = performance.now() + connectTimeoutMs;
    this.#dialNext();
  }

  /** Instead of dialling. */
  refuse(outcome: OutcomeClass, phase: RequestPhase, error: Error): void {
    if (this.#done) return;
    this.#visitor.refused(outcome, error);
    this.#finish(outcome, phase, error);
  }

  #dialNext(): boolean {
    const [target, ...others] = this.#targets;
    if (target === undefined) return false;
    const { connections, options } = this.#context;
    this.#targets = others;
    this.#where = target.where;
    const limited = { ...options, connectTimeoutMs: this.#share(others.length) };
    this.#connection = new OriginConnection(target, limited, this, () => connections.closed());
    connections.opened();
    return true;
  }

  /** One of several addresses must not use up the time of the others. 0 = no limit. */
  #share(others: number): number {
    if (this.#deadline === Number.POSITIVE_INFINITY) return 0;
    const left = Math.max(1, Math.ceil(this.#deadline - performance.now()));
    return Math.min(left, Math.max(MIN_SHARE_MS, Math.ceil(left / (others + 1))));
  }

  onData(chunk: Buffer): void {
    if (this.#done) {
      this.#stream.consumed(chunk.length);
      return;
    }
    this.#idle?.refresh();
    if (this.#splice === undefined) this.#upload.push(chunk);
    else this.#splice.fromVisitor(chunk);
  }

  onEnd(): void {
    if (this.#done) return;
    if (this.#splice === undefined) this.#upload.end([]);
    else this.#splice.visitorEnd();
  }

  onCancel(reason: CancelReason): void {
    if (this.#done) return;
    this.#finish(outcomeOfCancel(reason), this.#splice === undefined ? "connect" : "splice");
    this.#connection?.destroy();
  }

  onWritable(): void {
    if (!this.#done) this.#connection?.resume();
  }

  cancel(reason: CancelReason): void {
    if (this.#done) return;
    this.onCancel(reason);
    this.#stream.abort();
  }

  onOpen(): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    this.#record.connected();
    const preface = this.#visitor.opened(connection.socket);
    this.#splice = new Splice(
      this.#stream,
      connection,
      this.#upload,
      () => this.#finish("ok"),
      (error) => this.#silent(error),
    );
    this.#upload.start(connection.socket, preface, false);
    const { idleTimeoutMs } = this.#context.options;
    if (idleTimeoutMs > 0) this.#idle = setTimeout(() => this.#expired(), Math.min(idleTimeoutMs, MAX_TIMER_MS));
  }

  onBytes(bytes: Buffer): void {
    this.#idle?.refresh();
    this.#splice?.fromOrigin(bytes);
  }

  onOriginEnd(): void {
    this.#splice?.originEnd();
  }

  onGone(cause: Error): void {
    if (this.#done || this.#splice?.brokeOff() === false) return;
    if (this.#splice === undefined && this.#dialNext()) return;
    const error = connectionError(cause, "splice", this.#where);
    if (this.#splice === undefined) this.refuse(error.outcome, error.phase, error);
    else this.#broke(error.outcome, error.phase, error);
  }

  #expired(): void {
    const limit = this.#context.options.idleTimeoutMs;
    const problem = `not a byte from or to ${this.#where} for ${limit} ms (idleTimeout)`;
    this.#silent(new OriginError("origin-timeout", "splice", problem));
  }

  #silent(error: OriginError): void {
    this.#connection?.destroy();
    this.#broke(error.outcome, error.phase, error);
  }

  #broke(outcome: OutcomeClass, phase: RequestPhase, error: Error): void {
    this.#finish(outcome, phase, error);
    this.#stream.abort();
  }

  #finish(outcome: OutcomeClass, phase?: RequestPhase, error?: Error): void {
    this.#done = true;
    clearTimeout(this.#idle);
    this.#splice?.stop();
    this.#upload.stop();
    this.#record.finish(outcome, phase, error);
    this.#visitor.finished?.();
  }
}
