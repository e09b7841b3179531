/** What the tests' peers ask of each other's streams: the commands stand in ../quic-go/main.go. */
import { createHash } from "node:crypto";
import type { QuicConnection } from "../../../src/protocol/quic/connection.ts";
import type { QuicStream, QuicStreamSink } from "../../../src/protocol/quic/streams/types.ts";

/** Each byte is its offset modulo 251. */
export const PATTERN = Buffer.from(Array.from({ length: 251 * 256 }, (_, i) => i % 251));

/** Pattern from `offset` on, at most `length` bytes. */
function patternAt(offset: number, length: number): Buffer {
  const from = offset % 251;
  return PATTERN.subarray(from, Math.min(from + length, PATTERN.length));
}

/** The answer to `sink` after `length` bytes of pattern. */
export function digest(length: number): string {
  const hash = createHash("sha256");
  for (let at = 0; at < length; ) {
    const part = patternAt(at, length - at);
    hash.update(part);
    at += part.length;
  }
  return `${length} ${hash.digest("hex")}\n`;
}

/** How a stream that we asked something of went. */
export interface Answer {
  readonly bytes: number;
  /** Offset of the first byte that is not the pattern's; -1 = none. */
  readonly wrong: number;
  /** Its first bytes. */
  readonly text: string;
  readonly end: "end" | "closed" | "evicted" | { readonly reset: number };
  /** The peer's STOP_SENDING. */
  readonly stopped: number | undefined;
}

/** Writes `length` bytes of pattern as the stream takes them, then the end. */
class PatternWriter {
  readonly #stream: QuicStream;
  readonly #length: number;
  readonly #wake: () => void;
  #at = 0;

  constructor(stream: QuicStream, length: number, wake: () => void) {
    this.#stream = stream;
    this.#length = length;
    this.#wake = wake;
  }

  run(): void {
    let goOn = true;
    while (goOn && this.#at < this.#length) {
      const part = patternAt(this.#at, Math.min(this.#length - this.#at, 32_768));
      this.#at += part.length;
      goOn = this.#stream.write(part, this.#at === this.#length);
    }
    this.#wake();
  }
}

export interface AskOptions {
  /** Bytes of pattern behind the command. */
  readonly payload?: number;
  /** Whether our side ends. Default true. */
  readonly fin?: boolean;
  /** Called with each chunk; what it returns is credited (all by default). */
  readonly onData?: (chunk: Buffer, stream: QuicStream) => number;
}

class Asker implements QuicStreamSink {
  readonly #stream: QuicStream;
  readonly #writer: PatternWriter | undefined;
  readonly #options: AskOptions;
  readonly #resolve: (answer: Answer) => void;
  #bytes = 0;
  #wrong = -1;
  #text = "";
  #stopped: number | undefined;

  constructor(
    stream: QuicStream,
    writer: PatternWriter | undefined,
    options: AskOptions,
    resolve: (answer: Answer) => void,
  ) {
    this.#stream = stream;
    this.#writer = writer;
    this.#options = options;
    this.#resolve = resolve;
  }

  onData(chunk: Buffer): void {
    if (this.#text.length < 256) this.#text += chunk.toString("latin1", 0, 256);
    for (let at = 0; at < chunk.length && this.#wrong < 0; ) {
      const part = patternAt(this.#bytes + at, chunk.length - at);
      if (part.compare(chunk, at, at + part.length) !== 0) this.#wrong = this.#bytes + at;
      at += part.length;
    }
    this.#bytes += chunk.length;
    this.#stream.consumed(this.#options.onData?.(chunk, this.#stream) ?? chunk.length);
  }
  onEnd(): void {
    this.#finish("end");
  }
  onReset(errorCode: number): void {
    this.#finish({ reset: errorCode });
  }
  onStopSending(errorCode: number): void {
    this.#stopped = errorCode;
  }
  onWritable(): void {
    this.#writer?.run();
  }
  onEvicted(): void {
    this.#finish("evicted");
  }
  onClosed(): void {
    this.#finish("closed");
  }

  #finish(end: Answer["end"]): void {
    this.#resolve({ bytes: this.#bytes, wrong: this.#wrong, text: this.#text, end, stopped: this.#stopped });
  }
}

/** Asks for something on a new stream. `wake` gets it sent. */
export function ask(
  connection: QuicConnection,
  wake: () => void,
  command: string,
  options: AskOptions = {},
): { stream: QuicStream; answer: Promise<Answer> } {
  const stream = connection.openStream(true);
  if (stream === undefined) throw new Error("no credit for a stream");
  const { payload = 0, fin = true } = options;
  const writer = payload > 0 ? new PatternWriter(stream, payload, wake) : undefined;
  const answer = new Promise<Answer>((resolve) => {
    stream.sink = new Asker(stream, writer, options, resolve);
  });
  stream.write(Buffer.from(`${command}\n`), fin && writer === undefined);
  if (writer === undefined) wake();
  else writer.run();
  return { stream, answer };
}

/** A stream that the peer opened: reads its command, and does it. */
export class Responder implements QuicStreamSink {
  readonly #stream: QuicStream;
  readonly #connection: QuicConnection;
  readonly #wake: () => void;
  readonly #hash = createHash("sha256");
  #line = "";
  #command: string | undefined;
  #writer: PatternWriter | undefined;
  #bytes = 0;
  /** What ended the stream early, as it was told. */
  readonly #tell: (event: string) => void;
  /** Echoed bytes that wait for the peer to read. */
  #owed = 0;

  constructor(stream: QuicStream, connection: QuicConnection, wake: () => void, tell: (event: string) => void) {
    this.#stream = stream;
    this.#connection = connection;
    this.#wake = wake;
    this.#tell = tell;
  }

  onData(chunk: Buffer): void {
    if (this.#command !== undefined) {
      this.#content(chunk);
      return;
    }
    const newline = chunk.indexOf(10);
    this.#line += chunk.toString("latin1", 0, newline < 0 ? chunk.length : newline);
    this.#stream.consumed(newline < 0 ? chunk.length : newline + 1);
    if (newline < 0) return;
    this.#begin(this.#line);
    if (newline + 1 < chunk.length) this.#content(chunk.subarray(newline + 1));
  }

  onEnd(): void {
    if (this.#command === "echo") this.#stream.write(Buffer.alloc(0), true);
    if (this.#command === "sink") {
      this.#stream.write(Buffer.from(`${this.#bytes} ${this.#hash.digest("hex")}\n`), true);
    }
    this.#wake();
  }
  onReset(errorCode: number): void {
    this.#tell(`reset ${errorCode}`);
    this.#stream.reset(0);
    this.#wake();
  }
  onStopSending(errorCode: number): void {
    this.#tell(`stop ${errorCode}`);
  }
  onWritable(): void {
    this.#writer?.run();
    const owed = this.#owed;
    this.#owed = 0;
    if (owed > 0) this.#stream.consumed(owed);
    this.#wake();
  }
  onEvicted(): void {
    this.#tell("evicted");
  }

  #begin(line: string): void {
    const [command = "", first = "", ...rest] = line.split(" ");
    const number = Number(first);
    this.#command = command;
    switch (command) {
      case "echo":
      case "sink":
      case "hold":
        break;
      case "source":
        this.#writer = new PatternWriter(this.#stream, number, this.#wake);
        this.#writer.run();
        break;
      case "reset":
        this.#stream.reset(number);
        break;
      case "stop":
        this.#stream.stopSending(number);
        this.#stream.write(Buffer.from("stopped"), true);
        break;
      case "close":
        this.#connection.close(number, rest.join(" "), performance.now());
        break;
      default:
        throw new Error(`an unknown command: ${command}`);
    }
  }

  #content(chunk: Buffer): void {
    const command = this.#command;
    this.#bytes += chunk.length;
    if (command === "sink") this.#hash.update(chunk);
    // What the peer does not read back stops what it sends.
    if (command === "echo" && !this.#stream.write(chunk, false)) this.#owed += chunk.length;
    else if (command !== "hold") this.#stream.consumed(chunk.length);
  }
}
