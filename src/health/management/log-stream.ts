/**
 * One client of the log, from the opening of its WebSocket to its end (operations § 10). It has no socket and no clock:
 *
 *   idle ──start_streaming──▶ streaming ──stop_streaming──▶ idle
 *     └──────5 minutes──────▶ closed ◀── a wrong message, three pings without an answer, another session of the same actor
 *
 * A connector serves one streaming client at a time: each costs every log line its encoding.
 */
import { LOG_LEVELS, type LogEvent, type LogLevel, type LogListener, type LogRecord, type LogTap } from "./log-tap.ts";
import { IDLE_MS, PING_INTERVAL_MS, QUEUED_ENTRIES, UNANSWERED_PINGS } from "./limits.ts";
import { type LogFilters, logsMessage, readClientMessage } from "./messages.ts";

/** Of the WebSocket's close frames; the first three are cloudflared's own. */
export const CLOSE_CODES = {
  invalidCommand: 4001,
  sessionLimit: 4002,
  idle: 4003,
  normal: 1000,
  goingAway: 1001,
  unsupportedData: 1003,
} as const;

/** RFC 6455 § 5.5: a control frame holds 125 bytes, two of them the code. */
const MAX_REASON = 123;

/** What a stream may do to its WebSocket. */
export interface LogStreamPeer {
  /** So much waits in its buffers that entries should wait here. */
  readonly blocked: boolean;
  send(text: string): void;
  ping(): void;
  /** Called once. */
  close(code: number, reason: string): void;
  /** Called once: it does not answer. */
  terminate(): void;
}

type State =
  | { readonly kind: "idle"; readonly since: number; readonly started: boolean }
  | { readonly kind: "streaming"; readonly filters: LogFilters; readonly detach: () => void }
  | { readonly kind: "closed" };

/** All clients of one connector: who of them streams. */
export class LogStreams {
  readonly #tap: Pick<LogTap, "attach">;
  readonly #random: () => number;
  #streaming: LogStream | undefined;

  constructor(tap: Pick<LogTap, "attach">, random: () => number) {
    this.#tap = tap;
    this.#random = random;
  }

  /** A client whose access token names this actor has opened a WebSocket. */
  open(actor: string, peer: LogStreamPeer, now: number): LogStream {
    return new LogStream({ actor, peer, now, random: this.#random, claim: (stream) => this.#claim(stream) });
  }

  /** The detaching function, or undefined where another actor streams. */
  #claim(stream: LogStream): (() => void) | undefined {
    const current = this.#streaming;
    if (current !== undefined) {
      if (current.actor !== stream.actor) return undefined;
      current.close(CLOSE_CODES.normal, "another session of the same actor has begun");
    }
    this.#streaming = stream;
    const detach = this.#tap.attach(stream);
    return () => {
      detach();
      if (this.#streaming === stream) this.#streaming = undefined;
    };
  }
}

interface LogStreamOptions {
  readonly actor: string;
  readonly peer: LogStreamPeer;
  readonly now: number;
  readonly random: () => number;
  readonly claim: (stream: LogStream) => (() => void) | undefined;
}

export class LogStream implements LogListener {
  readonly actor: string;
  readonly #peer: LogStreamPeer;
  readonly #random: () => number;
  readonly #claim: LogStreamOptions["claim"];
  readonly #queue: string[] = [];
  #state: State;
  #nextPing: number;
  #unanswered = 0;
  #leftOut = 0;

  constructor({ actor, claim, now, peer, random }: LogStreamOptions) {
    this.actor = actor;
    this.#peer = peer;
    this.#random = random;
    this.#claim = claim;
    this.#state = { kind: "idle", since: now, started: false };
    this.#nextPing = now + PING_INTERVAL_MS;
  }

  /** When `tick` is due; undefined once it is closed. */
  get deadline(): number | undefined {
    if (this.#state.kind === "closed") return undefined;
    return this.#state.kind === "idle" ? Math.min(this.#nextPing, this.#state.since + IDLE_MS) : this.#nextPing;
  }

  /** A message of the client; undefined = a binary one, which has no meaning. */
  message(text: string | undefined, now: number): void {
    if (this.#state.kind === "closed") return;
    const message = text === undefined ? ({ kind: "unknown" } as const) : readClientMessage(text);
    switch (message.kind) {
      case "start":
        this.#start(message.filters);
        break;
      case "bad-start":
        this.close(CLOSE_CODES.invalidCommand, message.problem);
        break;
      case "stop":
        this.#stop(now);
        break;
      default:
        this.close(CLOSE_CODES.unsupportedData, "invalid message type was provided");
    }
  }

  #start(filters: LogFilters): void {
    if (this.#state.kind === "streaming") {
      this.#state = { ...this.#state, filters };
      return;
    }
    const detach = this.#claim(this);
    if (detach === undefined) this.close(CLOSE_CODES.sessionLimit, "limit exceeded for streaming sessions");
    else this.#state = { kind: "streaming", filters, detach };
  }

  #stop(now: number): void {
    if (this.#state.kind === "idle" && !this.#state.started) {
      this.close(CLOSE_CODES.invalidCommand, "expected start streaming as first event");
      return;
    }
    this.#detach();
    this.#state = { kind: "idle", since: now, started: true };
  }

  /** Whether an entry gets through the filters, and there is room for it. */
  wants(level: LogLevel, event: LogEvent): boolean {
    if (this.#state.kind !== "streaming" || !this.#passes(level, event, this.#state.filters)) return false;
    if (this.#queue.length < QUEUED_ENTRIES) return true;
    this.#leftOut++;
    return false;
  }

  #passes(level: LogLevel, event: LogEvent, filters: LogFilters): boolean {
    return (
      LOG_LEVELS.indexOf(level) >= LOG_LEVELS.indexOf(filters.level) &&
      (filters.events.length === 0 || filters.events.includes(event)) &&
      (filters.sampling >= 1 || this.#random() < filters.sampling)
    );
  }

  /** An entry that it wants. */
  record(record: LogRecord): void {
    const text = logsMessage(record);
    if (this.#queue.length === 0 && this.#leftOut === 0 && !this.#peer.blocked) this.#peer.send(text);
    else this.#queue.push(text);
  }

  /** The WebSocket's buffers have room again. `time` is the wall clock's, RFC 3339. */
  writable(time: string): void {
    while (!this.#peer.blocked) {
      const text = this.#queue.shift() ?? this.#notice(time);
      if (text === undefined) return;
      this.#peer.send(text);
    }
  }

  /** Whoever reads must know that something is missing. */
  #notice(time: string): string | undefined {
    const count = this.#leftOut;
    if (count === 0) return undefined;
    this.#leftOut = 0;
    return logsMessage({
      time,
      level: "warn",
      message: "Entries were left out: the client does not keep up",
      event: "cloudflared",
      fields: { count },
    });
  }

  /** The client has answered a ping. */
  pong(): void {
    this.#unanswered = 0;
  }

  tick(now: number): void {
    if (this.#state.kind === "closed") return;
    if (this.#state.kind === "idle" && now >= this.#state.since + IDLE_MS) {
      this.close(CLOSE_CODES.idle, "session was idle for too long");
      return;
    }
    if (now < this.#nextPing) return;
    if (this.#unanswered >= UNANSWERED_PINGS) {
      this.ended();
      this.#peer.terminate();
      return;
    }
    this.#unanswered++;
    this.#nextPing = now + PING_INTERVAL_MS;
    this.#peer.ping();
  }

  close(code: number, reason: string): void {
    if (this.#state.kind === "closed") return;
    this.ended();
    this.#peer.close(code, reason.slice(0, MAX_REASON));
  }

  /** The WebSocket is gone, or about to. Idempotent. */
  ended(): void {
    this.#detach();
    this.#state = { kind: "closed" };
  }

  #detach(): void {
    if (this.#state.kind === "streaming") this.#state.detach();
    this.#queue.length = 0;
    this.#leftOut = 0;
  }
}
