/**
 * Client and server role against each other, from a seed: requests and answers of random sizes, consumers that take when they
 * like, windows and a budget that are too small, resets at any moment, bytes delivered in any pieces, buffers given back late.
 * Whatever happens: no connection error, no byte lost or changed, and in the end nothing is held.
 */
import { describe, expect, it } from "vitest";
import { createMemoryBudget } from "../../src/protocol/memory-budget/budget.ts";
import { createHttp2Client } from "../../src/protocol/http2/client.ts";
import { createHttp2Server } from "../../src/protocol/http2/server.ts";
import { HeaderField } from "../../src/protocol/bytes/header-field.ts";
import { ErrorCode, type Http2Connection, type Http2Stream } from "../../src/protocol/http2/types.ts";
import { seeded } from "./random.ts";

type Random = (below: number) => number;

/** The bytes of a body are known from its stream's number and their place. */
function body(key: number, from: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let i = 0; i < length; i++) bytes[i] = (key * 31 + (from + i) * 7) & 0xff;
  return bytes;
}

/** One end of a stream: writes a body as it may, takes what comes when it likes. */
class End {
  stream: Http2Stream | undefined;
  readonly #random: Random;
  readonly #key: number;
  #toWrite: number;
  #written = 0;
  #blocked = false;
  #ended = false;
  read = 0;
  #untaken = 0;
  finished = false;
  cancelled = false;
  trailers = 0;
  corrupt = false;

  constructor(random: Random, key: number, toWrite: number) {
    this.#random = random;
    this.#key = key;
    this.#toWrite = toWrite;
  }

  get total(): number {
    return this.#toWrite;
  }

  get done(): boolean {
    return this.cancelled || (this.finished && this.#ended);
  }

  onResponse(): void {}

  onData(chunk: Buffer): void {
    if (!chunk.equals(body(this.#key ^ 1, this.read, chunk.length))) this.corrupt = true;
    this.read += chunk.length;
    this.#untaken += chunk.length;
  }

  onEnd(trailers: readonly HeaderField[]): void {
    this.finished = true;
    this.trailers = trailers.length;
  }

  onCancel(): void {
    this.cancelled = true;
    this.stream?.release();
  }

  onWritable(): void {
    this.#blocked = false;
  }

  step(eager: boolean): void {
    const { stream } = this;
    if (stream === undefined) return;
    if (this.#untaken > 0 && (eager || this.#random(3) === 0)) {
      const taken = eager ? this.#untaken : 1 + this.#random(this.#untaken);
      this.#untaken -= taken;
      stream.consumed(taken);
    }
    if (this.cancelled || this.#ended || this.#blocked) return;
    const left = this.#toWrite - this.#written;
    if (left === 0) {
      this.#ended = true;
      stream.end(this.#key % 3 === 0 ? [new HeaderField("X-End", "1")] : undefined);
      return;
    }
    const length = Math.min(left, 1 + this.#random(this.#random(4) === 0 ? 200_000 : 3_000));
    const chunk = body(this.#key, this.#written, length);
    this.#written += length;
    this.#ended = this.#written === this.#toWrite && this.#key % 3 === 1;
    this.#blocked = !stream.write(chunk, this.#ended);
    chunk.fill(0xee);
  }
}

/** Bytes of one direction, on their way. */
class Wire {
  readonly #random: Random;
  readonly #from: Http2Connection;
  readonly #to: Http2Connection;
  #bytes = Buffer.alloc(0);
  readonly #taken: Buffer[] = [];

  constructor(random: Random, from: Http2Connection, to: Http2Connection) {
    this.#random = random;
    this.#from = from;
    this.#to = to;
  }

  step(now: number, eager: boolean): boolean {
    const taken = this.#random(3) === 0 || eager ? this.#from.takeOutput() : undefined;
    if (taken !== undefined) {
      this.#bytes = Buffer.concat([this.#bytes, taken]);
      this.#taken.push(taken);
    }
    const back = this.#taken.at(0);
    if (back !== undefined && (eager || this.#random(3) === 0)) {
      this.#taken.shift();
      back.fill(0xdd);
      this.#from.recycle(back);
    }
    if (this.#bytes.length === 0) return taken !== undefined || back !== undefined;
    const most = eager ? this.#bytes.length : 1 + this.#random(this.#random(2) === 0 ? 30 : 70_000);
    const read = Buffer.from(this.#bytes.subarray(0, most));
    this.#bytes = this.#bytes.subarray(read.length);
    this.#to.receive(read, now);
    read.fill(0xcc);
    return true;
  }
}

function run(seed: number): { streams: number; cancelled: number } {
  const random = seeded(seed);
  const errors: Error[] = [];
  const budget = createMemoryBudget(random(3) === 0 ? 100_000 : 50_000_000);
  const answers = new Map<number, End>();
  const ends: End[] = [];
  const server = createHttp2Server(
    { budget, initialWindowSize: 1 + random(200_000), connectionWindowSize: 65_535 + random(200_000) },
    {
      onOutput() {},
      onRequest: (stream, head) => {
        const key = Number(head.path.slice(1));
        const end = new End(random, key ^ 1, random(2) === 0 ? random(300) : random(400_000));
        end.stream = stream;
        stream.handler = end;
        stream.headers((encoder) => {
          encoder.status(200);
          encoder.field("x-padding", "p".repeat(random(20) === 0 ? 40_000 : random(50)), "name");
          encoder.field("x-key", String(key), "index");
        }, false);
        answers.set(key, end);
        ends.push(end);
      },
      onError: (error) => errors.push(error),
    },
    0,
  );
  const client = createHttp2Client(
    { initialWindowSize: 1 + random(100_000), connectionWindowSize: 65_535 + random(100_000) },
    { onOutput() {}, onError: (error) => errors.push(error) },
    0,
  );
  const wires = [new Wire(random, client, server), new Wire(random, server, client)];
  const requests: { key: number; end: End }[] = [];
  const count = 2 + random(20);
  let cancelled = 0;
  for (let step = 0; step < 200_000; step++) {
    const settled = requests.length === count && ends.every((end) => end.done);
    // At last everything is carried over.
    const eager = settled || step > 3_000;
    if (requests.length < count && random(10) === 0) {
      const key = 2 * (requests.length + 1);
      const end = new End(random, key, random(2) === 0 ? random(300) : random(400_000));
      end.stream = client.request((encoder) => encoder.pseudo("POST", "https", "a", `/${key}`), false, end);
      if (end.stream !== undefined) {
        requests.push({ key, end });
        ends.push(end);
      }
    }
    let moved = false;
    for (const wire of wires) if (wire.step(step, eager)) moved = true;
    for (const end of ends) end.step(eager);
    const victim = random(400) === 0 ? ends[random(Math.max(1, ends.length))] : undefined;
    if (victim?.stream?.closed === false) {
      victim.cancelled = true;
      victim.stream.reset(ErrorCode.CANCEL);
    }
    if (settled && !moved) break;
  }
  expect(errors).toEqual([]);
  for (const { key, end } of requests) {
    const answer = answers.get(key);
    expect(end.corrupt || answer?.corrupt === true).toBe(false);
    if (end.cancelled || answer === undefined || answer.cancelled) {
      cancelled++;
      continue;
    }
    expect([answer.read, end.read, end.finished, answer.finished]).toEqual([end.total, answer.total, true, true]);
    expect([end.trailers, answer.trailers]).toEqual([(key ^ 1) % 3 === 0 ? 1 : 0, key % 3 === 0 ? 1 : 0]);
  }
  for (const end of ends) {
    end.step(true);
    end.stream?.release();
  }
  expect({ held: budget.held, open: server.openStreams + client.openStreams, active: server.activeStreams }).toEqual({
    held: 0,
    open: 0,
    active: 0,
  });
  return { streams: requests.length, cancelled };
}

describe("client against server", () => {
  it("loses no byte and holds nothing in the end, 60 times", () => {
    let streams = 0;
    let cancelled = 0;
    for (let seed = 1; seed <= 60; seed++) {
      try {
        const result = run(seed);
        streams += result.streams;
        cancelled += result.cancelled;
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
    // Neither is empty, or the test says nothing.
    expect(cancelled).toBeGreaterThan(20);
    expect(streams - cancelled).toBeGreaterThan(100);
  }, 60_000);
});
