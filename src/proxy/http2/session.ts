/** One HTTP/2 connection to an origin: moves bytes and time between its socket and the codec. */
import { Http2ConnectionError } from "../../protocol/http2/errors.ts";
import { createHttp2Client } from "../../protocol/http2/client.ts";
import { PREFACE_TIMEOUT } from "../../protocol/http2/limits.ts";
import {
  type ClientFieldEncoder,
  ErrorCode,
  type Http2ClientConnection,
  type Http2Stream,
  type Http2StreamHandler,
} from "../../protocol/http2/types.ts";
import type { MemoryBudget } from "../../protocol/memory-budget/budget.ts";
import type { OriginRequestOptions } from "../../types.ts";
import type { Flushable, FlushQueue } from "../flush-queue.ts";
import { type ConnectionUser, OriginConnection } from "../origin-connection.ts";
import { settingsTimeout } from "../origin-errors.ts";
import type { OriginTarget } from "../origin-target.ts";

/** How long the last bytes of a connection that is closed may take. */
const LINGER_MS = 1_000;

/** How long an origin's first SETTINGS may take, whatever the options say: somewhat less than the codec waits. */
const MOST_SETTINGS_MS = PREFACE_TIMEOUT - 1_000;

/** ALPN's names (RFC 7301 § 6), in the order of preference. */
const PROTOCOLS = ["h2", "http/1.1"];

export interface SessionOwner {
  /** The origin's SETTINGS have come: it speaks HTTP/2, and takes requests. */
  ready(session: OriginSession): void;
  /** ALPN did not choose HTTP/2. The session has ended itself. */
  declined(session: OriginSession): void;
  /** A stream has ended, or the origin announced that it takes no more. */
  changed(session: OriginSession): void;
  /** Called once, unless `declined` was. An OriginError where there was no connection yet. */
  gone(session: OriginSession, error: Error): void;
  /** The socket is gone. */
  closed(): void;
}

export interface SessionContext {
  readonly options: OriginRequestOptions;
  readonly flushes: FlushQueue;
  readonly budget: MemoryBudget;
}

/** A stream's user, told of the session's end apart from the others: only then is known what broke it. */
export interface SessionUser extends Http2StreamHandler {
  onLost(error: Error): void;
}

export class OriginSession implements ConnectionUser, Flushable {
  readonly target: OriginTarget;
  readonly #context: SessionContext;
  readonly #owner: SessionOwner;
  readonly #connection: OriginConnection;
  #codec: Http2ClientConnection | undefined;
  #isReady = false;
  #isOver = false;
  /** What the origin said when it took leave. */
  #goawayCode: number | undefined;
  #scheduled = false;
  #timer: NodeJS.Timeout | undefined;
  #timerDue = Number.POSITIVE_INFINITY;
  /** Until the origin's SETTINGS have come. */
  #settingsTimer: NodeJS.Timeout | undefined;
  #linger: NodeJS.Timeout | undefined;
  /** Cancelled with the connection, and not yet told why. */
  #lost: SessionUser[] = [];
  #error: Error | undefined;
  /** Requests that it has carried. */
  requests = 0;

  /** Dials. Throws an OriginError when there is nothing to dial with. */
  constructor(target: OriginTarget, context: SessionContext, owner: SessionOwner) {
    this.target = target;
    this.#context = context;
    this.#owner = owner;
    const protocols = target.tls === undefined ? [] : PROTOCOLS;
    const onClosed = (): void => {
      clearTimeout(this.#linger);
      owner.closed();
    };
    this.#connection = new OriginConnection(target, context.options, this, onClosed, protocols);
  }

  get hasRoom(): boolean {
    return this.#isReady && !this.#isOver && this.#codec !== undefined && this.#codec.availableStreams > 0;
  }

  get openStreams(): number {
    return this.#codec?.openStreams ?? 0;
  }

  /** Takes no requests any more. */
  get isLeaving(): boolean {
    return this.#isOver || this.#goawayCode !== undefined;
  }

  /** Undefined when there is no room. */
  request(encode: (encoder: ClientFieldEncoder) => void, end: boolean, user: SessionUser): Http2Stream | undefined {
    if (!this.hasRoom) return undefined;
    return this.#codec?.request(encode, end, user);
  }

  /** A stream was cancelled with the connection: `user` is told why, as soon as that is known. */
  lose(user: SessionUser): void {
    if (this.#error !== undefined) user.onLost(this.#error);
    else this.#lost.push(user);
  }

  /** A stream has ended: looked at once what is under way has been done. */
  streamEnded(): void {
    this.#schedule();
  }

  /** Ends it in order: what is queued is sent. */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#error = new Error("the connection was closed");
    clearTimeout(this.#timer);
    clearTimeout(this.#settingsTimer);
    this.#codec?.goaway(ErrorCode.NO_ERROR);
    this.#write();
    this.#codec?.socketClosed();
    this.#endConnection();
  }

  #endConnection(): void {
    const connection = this.#connection;
    if (!connection.isOpen || connection.socket.destroyed) {
      connection.destroy();
      return;
    }
    connection.close();
    this.#linger = setTimeout(() => connection.destroy(), LINGER_MS);
  }

  // The socket (ConnectionUser).

  onOpen(): void {
    if (this.target.tls !== undefined && this.#connection.protocol !== "h2") {
      this.#isOver = true;
      this.#connection.destroy();
      this.#owner.declined(this);
      return;
    }
    this.#codec = createHttp2Client(
      // No PING of ours: gRPC servers count them as abuse; TCP's keep-alive finds what is dead.
      { budget: this.#context.budget, pingIntervalMs: 0 },
      {
        onOutput: () => this.#schedule(),
        onReady: () => {
          this.#isReady = true;
          clearTimeout(this.#settingsTimer);
          this.#owner.ready(this);
        },
        onGoaway: (code) => {
          this.#goawayCode = code;
          this.#schedule();
        },
        onError: (error) => this.#over(error),
      },
      performance.now(),
    );
    this.#armTimer();
    this.#awaitSettings();
  }

  /** Before them no request is sent: an origin without them is one that can't be reached, and that says nothing. */
  #awaitSettings(): void {
    const { connectTimeoutMs: connectTimeout, responseHeaderTimeoutMs: responseHeaderTimeout } = this.#context.options;
    let limit = MOST_SETTINGS_MS;
    let option: string | undefined;
    for (const [name, milliseconds] of Object.entries({ connectTimeout, responseHeaderTimeout })) {
      if (milliseconds <= 0 || milliseconds >= limit) continue;
      limit = milliseconds;
      option = name;
    }
    this.#settingsTimer = setTimeout(() => this.#over(settingsTimeout(this.target.where, limit, option)), limit);
  }

  onBytes(bytes: Buffer): void {
    this.#codec?.receive(bytes, performance.now());
    this.#armTimer();
  }

  onOriginEnd(): void {
    this.#over(new Error(this.#farewell("ended the connection")));
  }

  onGone(error: Error): void {
    this.#over(this.#goawayCode === undefined ? error : new Error(this.#farewell("closed"), { cause: error }));
  }

  flush(): void {
    this.#scheduled = false;
    if (this.#isOver) return;
    this.#write();
    this.#owner.changed(this);
  }

  #farewell(what: string): string {
    if (this.#goawayCode === undefined) return what;
    return `${what} after GOAWAY with code ${this.#goawayCode}`;
  }

  #over(error: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#error = error;
    clearTimeout(this.#timer);
    clearTimeout(this.#settingsTimer);
    // A GOAWAY that says what the origin did wrong.
    if (error instanceof Http2ConnectionError) this.#write();
    this.#codec?.socketClosed();
    this.#endConnection();
    this.#owner.gone(this, error);
    for (const user of this.#lost.splice(0)) user.onLost(error);
  }

  #schedule(): void {
    if (this.#scheduled || this.#isOver) return;
    this.#scheduled = true;
    this.#context.flushes.add(this);
  }

  #write(): void {
    const codec = this.#codec;
    if (codec === undefined) return;
    const { socket } = this.#connection;
    for (let buffer = codec.takeOutput(); buffer !== undefined; buffer = codec.takeOutput()) {
      const taken = buffer;
      socket.write(taken, () => codec.recycle(taken));
    }
  }

  /** A deadline that has moved on since only makes the tick come early, which does no harm. */
  #armTimer(): void {
    const deadline = this.#codec?.deadline;
    if (deadline === undefined || deadline >= this.#timerDue || this.#isOver) return;
    clearTimeout(this.#timer);
    this.#timerDue = deadline;
    this.#timer = setTimeout(
      () => {
        this.#timerDue = Number.POSITIVE_INFINITY;
        this.#codec?.tick(performance.now());
        this.#armTimer();
      },
      Math.max(1, deadline - performance.now()),
    );
  }
}
