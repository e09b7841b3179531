import { describe, expect, it } from "vitest";
import { HeaderField } from "../../src/protocol/bytes/header-field.ts";
import { ActiveRequests } from "../../src/proxy/active-requests.ts";
import { BadRequestError } from "../../src/proxy/bad-request.ts";
import { HeldRequest } from "../../src/proxy/held-request.ts";
import { OriginError } from "../../src/proxy/origin-errors.ts";
import { RequestLog } from "../../src/proxy/request-log/request-log.ts";
import { RequestRecord } from "../../src/proxy/request-record.ts";
import type { CancelReason, RequestOutcome, StreamSink } from "../../src/types.ts";
import { FakeStream, type FakeStreamOptions, httpRequest } from "./fake-stream.ts";

const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** What a backend hears, in order. */
class Sink implements StreamSink {
  readonly heard: string[] = [];
  readonly #stream: FakeStream;
  onChunk: (text: string) => void = () => {};

  constructor(stream: FakeStream) {
    this.#stream = stream;
  }

  get text(): string {
    return this.heard.join("");
  }

  onData(chunk: Buffer): void {
    const text = chunk.toString();
    this.heard.push(text);
    this.#stream.consumed(chunk.length);
    this.onChunk(text);
  }

  onEnd(trailers: readonly HeaderField[]): void {
    this.heard.push(`<end${trailers.map(({ name, value }) => ` ${name}: ${value}`).join("")}>`);
  }

  onCancel(reason: CancelReason): void {
    this.heard.push(`<${reason}>`);
  }

  onWritable(): void {
    this.heard.push("<writable>");
  }
}

class Rig {
  readonly stream: FakeStream;
  readonly sink: Sink;
  readonly active = new ActiveRequests();
  readonly outcomes: RequestOutcome[] = [];
  readonly held: HeldRequest;
  readonly record: RequestRecord;
  over = 0;
  served = 0;

  constructor(options: FakeStreamOptions = {}) {
    this.stream = new FakeStream(options);
    this.sink = new Sink(this.stream);
    const request = httpRequest(this.stream, { method: "POST" });
    const observer = { started() {}, finished: (outcome: RequestOutcome) => this.outcomes.push(outcome) };
    this.record = new RequestRecord(
      { log: new RequestLog("off", silent), observer, active: this.active },
      { request, observed: undefined },
      0,
      "test",
      0,
    );
    this.held = new HeldRequest(request, this.record, "access", () => this.over++);
  }

  release(): void {
    this.held.release(() => {
      this.served++;
      this.stream.sink = this.sink;
      this.record.activate({ cancel() {} });
    });
  }

  get ended(): string | undefined {
    const [outcome] = this.outcomes;
    return outcome && `${outcome.class} ${outcome.phase} ${outcome.status}`;
  }
}

describe("what the visitor sends while it is held", () => {
  it("reaches the backend in order, ahead of what comes later, and is credited only then", () => {
    const rig = new Rig();
    rig.stream.give("one ");
    rig.stream.give("two ");
    expect(rig.stream.credited).toBe(0);
    rig.release();
    expect(rig.sink.heard).toEqual(["one two "]);
    expect(rig.stream.credited).toBe(8);
    rig.stream.give("three");
    rig.stream.giveEnd([new HeaderField("x-sum", "1")]);
    expect(rig.sink.text).toBe("one two three<end x-sum: 1>");
    expect(rig.stream.sink).toBe(rig.sink);
    expect([rig.over, rig.active.size]).toEqual([1, 1]);
    rig.record.finish("ok");
    expect(rig.active.size).toBe(0);
  });

  it("is whole whatever the sizes of its pieces", () => {
    const rig = new Rig();
    let sent = "";
    for (const length of [1, 4095, 1, 4096, 4097, 3, 20_000, 2, 0, 4094, 5]) {
      const text = String.fromCharCode(97 + (sent.length % 26)).repeat(length);
      sent += text;
      rig.stream.give(text);
    }
    rig.stream.giveEnd();
    rig.release();
    expect(rig.sink.text).toBe(`${sent}<end>`);
    expect(rig.stream.credited).toBe(sent.length);
  });

  it("costs about what it holds, in a million pieces too", () => {
    const rig = new Rig();
    const before = process.memoryUsage();
    const byte = Buffer.from("x");
    for (let at = 0; at < 1_000_000; at++) rig.held.onData(byte);
    const after = process.memoryUsage();
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(1_500_000);
    const chunks: number[] = [];
    rig.sink.onData = (chunk) => {
      chunks.push(chunk.length);
    };
    rig.release();
    expect(chunks.length).toBeLessThan(250);
    expect(chunks.reduce((sum, length) => sum + length, 0)).toBe(1_000_000);
  });

  it("may be nothing", () => {
    const rig = new Rig({ bodyless: true });
    rig.release();
    expect(rig.sink.heard).toEqual([]);
    expect(rig.stream.sink).toBe(rig.sink);
  });

  it("may be its end alone", () => {
    const rig = new Rig();
    rig.stream.giveEnd();
    rig.release();
    expect(rig.sink.heard).toEqual(["<end>"]);
  });
});

describe("while the backend gets what was kept", () => {
  const big = (letter: string): string => letter.repeat(5_000);

  it("comes more: it waits for its turn", () => {
    const rig = new Rig();
    rig.stream.give(big("a"));
    rig.stream.give(big("b"));
    rig.sink.onChunk = (text) => {
      if (text.startsWith("a")) rig.stream.give("c");
      if (text.startsWith("c")) rig.stream.giveEnd();
    };
    rig.release();
    expect(rig.sink.text).toBe(`${big("a")}${big("b")}c<end>`);
  });

  it("comes room for answers", () => {
    const rig = new Rig({ window: 1 });
    rig.stream.give("a");
    rig.sink.onChunk = () => {
      rig.stream.respond({ status: 200, headers: [], contentLength: undefined, source: "origin" }, false);
      rig.stream.write(Buffer.from("xx"), false);
      rig.stream.drain();
    };
    rig.release();
    expect(rig.sink.heard).toEqual(["a", "<writable>"]);
  });

  it("goes the visitor: the backend hears of it once, and of nothing behind it", () => {
    const rig = new Rig();
    rig.stream.give(big("a"));
    rig.stream.give(big("b"));
    rig.stream.giveEnd();
    rig.sink.onChunk = () => rig.stream.cancel();
    rig.release();
    expect(rig.sink.heard).toEqual([big("a"), "<client-abort>"]);
    expect(rig.stream.credited).toBe(10_000);
    expect(rig.over).toBe(1);
  });

  it("hands the backend its stream on", () => {
    const rig = new Rig();
    const next = new Sink(rig.stream);
    rig.stream.give(big("a"));
    rig.stream.give(big("b"));
    rig.sink.onChunk = () => {
      rig.stream.sink = next;
    };
    next.onChunk = (text) => {
      if (text !== "c") rig.stream.give("c");
    };
    rig.release();
    expect(rig.sink.text).toBe(big("a"));
    expect(next.text).toBe(`${big("b")}c`);
    expect(rig.stream.sink).toBe(next);
  });

  it("fails the backend: the request ends, and all is credited", () => {
    const rig = new Rig();
    rig.stream.give(big("a"));
    rig.stream.give(big("b"));
    rig.sink.onChunk = () => {
      throw new Error("a defect");
    };
    rig.release();
    expect(rig.ended).toBe("handler-error request 502");
    expect([rig.stream.aborted, rig.stream.credited, rig.active.size, rig.over]).toEqual([true, 10_000, 0, 1]);
  });
});

describe("a backend that does not take it", () => {
  it.each([
    [new BadRequestError("no"), "bad-request request 502"],
    [new OriginError("origin-refused", "connect", "no"), "origin-refused connect 502"],
    [new Error("no"), "handler-error request 502"],
  ])("by %s", (error, ended) => {
    const rig = new Rig();
    rig.stream.give("x");
    rig.held.release(() => {
      throw error;
    });
    expect(rig.ended).toBe(ended);
    expect([rig.stream.aborted, rig.stream.credited, rig.active.size, rig.over]).toEqual([true, 1, 0, 1]);
    rig.stream.give("more");
    expect(rig.stream.credited).toBe(5);
  });
});

describe("an end while it is held", () => {
  it.each<[CancelReason, string]>([
    ["client-abort", "client-abort access 0"],
    ["edge-lost", "edge-lost access 0"],
    ["memory-limit", "memory-limit access 0"],
  ])("%s", (reason, ended) => {
    const rig = new Rig();
    rig.stream.give("x");
    rig.stream.cancel(reason);
    rig.release();
    expect(rig.ended).toBe(ended);
    expect([rig.served, rig.over, rig.active.size, rig.stream.credited]).toEqual([0, 1, 0, 1]);
    expect([rig.stream.aborted, rig.stream.head]).toEqual([false, undefined]);
  });

  it("of the proxy: the visitor is told", () => {
    const rig = new Rig();
    rig.stream.give("x");
    for (const request of rig.active.all()) request.cancel("shutdown");
    rig.release();
    expect(rig.ended).toBe("shutdown access 0");
    expect([rig.served, rig.over, rig.active.size, rig.stream.aborted]).toEqual([0, 1, 0, true]);
  });
});
