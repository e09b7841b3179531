/** The log stream in virtual time: its peer is a record of what it did. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LogStreams } from "../../../src/health/management/log-stream.ts";
import { LogTap, type LogLevel } from "../../../src/health/management/log-tap.ts";
import { readLogs, startMessage } from "../../../src/health/management/messages.ts";
import { seededRandom } from "../../connector/fake-edge.ts";

const START = '{"type":"start_streaming"}';
const STOP = '{"type":"stop_streaming"}';
const silent = { debug() {}, info() {}, warn() {}, error() {} };

interface Done {
  readonly at: number;
  readonly what: string;
}

function connector(random: () => number = () => 0.5) {
  const tap = new LogTap({ target: silent, now: () => 0 });
  const streams = new LogStreams(tap, random);
  const clock = { now: 0 };
  const open = (actor: string) => {
    const done: Done[] = [];
    const sent: string[] = [];
    const note = (what: string): void => void done.push({ at: clock.now, what });
    const peer = {
      blocked: false,
      send: (text: string): void => void sent.push(text),
      ping: () => note("ping"),
      close: (code: number, reason: string) => note(`close ${code} ${reason}`),
      terminate: () => note("terminate"),
    };
    const stream = streams.open(actor, peer, clock.now);
    const messages = (): readonly string[] =>
      sent.flatMap((text) => readLogs(text) ?? []).map(({ message }) => message);
    /** Lets time pass, in steps as its deadlines ask for. */
    const wait = (ms: number, answers = true): void => {
      const end = clock.now + ms;
      for (;;) {
        const { deadline } = stream;
        if (deadline === undefined || deadline > end) break;
        clock.now = deadline;
        stream.tick(clock.now);
        if (answers) stream.pong();
      }
      clock.now = end;
    };
    return { done, messages, peer, sent, stream, wait, say: (text?: string) => stream.message(text, clock.now) };
  };
  return { clock, open, tap };
}

describe("a log stream", () => {
  it("sends entries from start_streaming to stop_streaming, one a frame", () => {
    const { open, tap } = connector();
    const client = open("a");
    tap.logger.info("before");
    client.say(START);
    tap.logger.info("first", { connIndex: 0 });
    tap.logger.debug("second");
    client.say(STOP);
    expect(tap.attached).toBe(false);
    tap.logger.info("after");
    client.say(START);
    tap.logger.info("again");
    expect(client.messages()).toEqual(["first", "second", "again"]);
    expect(JSON.parse(client.sent[0] ?? "")).toEqual({
      type: "logs",
      logs: [{ time: "1970-01-01T00:00:00.000Z", level: "info", message: "first", fields: { connIndex: 0 } }],
    });
    // Debug, cloudflared and no fields are left out, as cloudflared leaves them out.
    expect(JSON.parse(client.sent[1] ?? "")).toEqual({
      type: "logs",
      logs: [{ time: "1970-01-01T00:00:00.000Z", message: "second" }],
    });
    expect(client.done).toEqual([]);
  });

  it.each<[LogLevel, readonly string[]]>([
    ["debug", ["debug", "info", "warn", "error", "raised"]],
    ["info", ["info", "warn", "error", "raised"]],
    ["warn", ["warn", "error", "raised"]],
    ["error", ["error", "raised"]],
  ])("of level %s shows that one and those above", (level, expected) => {
    const { open, tap } = connector();
    const client = open("a");
    client.say(startMessage({ events: [], level, sampling: 1 }));
    for (const each of ["debug", "info", "warn", "error"] as const) tap.logger[each](each);
    tap.logger.debug("raised", { error: new Error("x") });
    expect(client.messages()).toEqual(expected);
  });

  it("filters by event, and takes new filters while it streams", () => {
    const { open, tap } = connector();
    const client = open("a");
    const lines = (): void => {
      tap.logger.info("own");
      tap.logger.info("http", { outcome: "ok", kind: "http" });
      tap.logger.info("tcp", { outcome: "ok", kind: "tcp" });
      tap.logger.info("UDP session registered");
    };
    client.say('{"type":"start_streaming","filters":{"events":["http","udp"]}}');
    lines();
    client.say('{"type":"start_streaming","filters":{"events":["cloudflared"],"level":"info","sampling":0}}');
    lines();
    expect(client.messages()).toEqual(["http", "UDP session registered", "own"]);
    expect(client.done).toEqual([]);
  });

  it("samples", () => {
    const { open, tap } = connector(seededRandom(1));
    const client = open("a");
    client.say(startMessage({ events: [], level: "debug", sampling: 0.25 }));
    for (let i = 0; i < 4000; i++) tap.logger.info("line");
    expect(client.sent.length).toBeGreaterThan(850);
    expect(client.sent.length).toBeLessThan(1150);
  });

  it("holds 30 entries for a client that does not read, and tells how many it left out", () => {
    const { open, tap } = connector();
    const client = open("a");
    client.say(START);
    client.peer.blocked = true;
    for (let i = 0; i < 100; i++) tap.logger.info(`line ${i}`);
    expect(client.sent).toEqual([]);
    client.peer.blocked = false;
    client.stream.writable("2026-01-01T00:00:00Z");
    expect(client.messages()).toEqual([
      ...Array.from({ length: 30 }, (_, i) => `line ${i}`),
      "Entries were left out: the client does not keep up",
    ]);
    expect(readLogs(client.sent.at(-1) ?? "")?.[0]).toMatchObject({ level: "warn", fields: { count: 70 } });
    tap.logger.info("on");
    expect(client.messages().at(-1)).toBe("on");
  });

  it("keeps the order when room comes back in pieces", () => {
    const { open, tap } = connector();
    const client = open("a");
    client.say(START);
    client.peer.blocked = true;
    for (let i = 0; i < 40; i++) tap.logger.info(`${i}`);
    client.peer.send = (text) => {
      client.sent.push(text);
      client.peer.blocked = true;
    };
    for (let i = 0; i < 3; i++) {
      client.peer.blocked = false;
      client.stream.writable("t");
      tap.logger.info(`late ${i}`);
    }
    expect(client.messages()).toEqual(["0", "1", "2"]);
  });
});

describe("an entry's length", () => {
  const sentFor = (fields: Record<string, unknown>, message = "m"): string => {
    const { open, tap } = connector();
    const client = open("a");
    client.say(START);
    tap.logger.info(message, fields);
    expect(client.sent).toHaveLength(1);
    return client.sent[0] ?? "";
  };
  const headers = (length: number): Record<string, string> =>
    Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`${"n".repeat(length)}${i}`, "v"]));

  it("is what clients take: the longest fields give way to their lengths, the others stay", () => {
    const text = sentFor({ path: "/p", requestHeaders: headers(1000), responseHeaders: headers(10), status: 200 });
    const bytes = Buffer.byteLength(JSON.stringify(headers(1000)));
    expect(readLogs(text)?.[0]?.fields).toEqual({
      path: "/p",
      requestHeaders: `[${bytes} bytes]`,
      responseHeaders: headers(10),
      status: 200,
    });
  });

  it("leaves an entry whole that clients take", () => {
    expect(readLogs(sentFor({ requestHeaders: headers(600) }))?.[0]?.fields).toEqual({ requestHeaders: headers(600) });
  });

  it.each(["\u0001", "\u4e2d", "\ud83d\ude00", '"'])("is bounded in bytes: %j", (character) => {
    const long = character.repeat(10_000);
    const text = sentFor({ a: long, b: [long, long], c: { d: headers(2000) }, error: new Error(long) }, long);
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(32 * 1024);
    expect(readLogs(text)?.[0]?.level).toBe("error");
  });
});

describe("one session a connector", () => {
  it("closes another actor with 4002, and leaves the first alone", () => {
    const { open, tap } = connector();
    const [first, second] = [open("a"), open("b")];
    first.say(START);
    second.say(START);
    tap.logger.info("line");
    expect(second.done.map(({ what }) => what)).toEqual(["close 4002 limit exceeded for streaming sessions"]);
    expect(first.messages()).toEqual(["line"]);
    expect(second.sent).toEqual([]);
  });

  it("lets the same actor pre-empt an older session", () => {
    const { open, tap } = connector();
    const [first, second] = [open("a"), open("a")];
    first.say(START);
    second.say(START);
    tap.logger.info("line");
    expect(first.done.map(({ what }) => what)).toEqual(["close 1000 another session of the same actor has begun"]);
    expect(first.sent).toEqual([]);
    expect(second.messages()).toEqual(["line"]);
    first.stream.ended();
    tap.logger.info("on");
    expect(second.messages()).toEqual(["line", "on"]);
  });

  it("is free again when the one who streamed has stopped, or is gone", () => {
    const { open, tap } = connector();
    const [first, second, third] = [open("a"), open("b"), open("c")];
    first.say(START);
    first.say(STOP);
    second.say(START);
    second.stream.ended();
    third.say(START);
    tap.logger.info("line");
    expect([first, second, third].map(({ sent }) => sent.length)).toEqual([0, 0, 1]);
  });
});

describe("what ends a session", () => {
  it.each([
    ["stop_streaming as the first message", STOP, "close 4001 expected start streaming as first event"],
    ["an unknown level", '{"type":"start_streaming","filters":{"level":"trace"}}', "close 4001 start_streaming: level"],
    ["an unknown event", '{"type":"start_streaming","filters":{"events":["x"]}}', "close 4001 start_streaming: events"],
    ["filters that are none", '{"type":"start_streaming","filters":3}', "close 4001 start_streaming: filters"],
    ["a sampling that is none", '{"type":"start_streaming","filters":{"sampling":"1"}}', "close 4001 start_streaming"],
    ["an unknown type", '{"type":"reboot"}', "close 1003 invalid message type"],
    ["no type", "{}", "close 1003"],
    ["no JSON", "start_streaming", "close 1003"],
    ["a binary message", undefined, "close 1003"],
  ])("%s", (_name, message, expected) => {
    const { open, tap } = connector();
    const client = open("a");
    client.say(message);
    expect(client.done).toHaveLength(1);
    expect(client.done[0]?.what).toContain(expected);
    expect(client.stream.deadline).toBeUndefined();
    client.say(START);
    expect(tap.attached).toBe(false);
  });

  it("five minutes without streaming: 4003; streaming lasts", () => {
    const { open } = connector();
    const client = open("a");
    client.wait(299_999);
    client.say(START);
    client.wait(3_600_000);
    expect(client.done.filter(({ what }) => what !== "ping")).toEqual([]);
    client.say(STOP);
    const stopped = 299_999 + 3_600_000;
    client.wait(600_000);
    expect(client.done.at(-1)).toEqual({ at: stopped + 300_000, what: "close 4003 session was idle for too long" });
  });

  it("a ping every 15 s keeps it open; three without an answer end it", () => {
    const { open, tap } = connector();
    const client = open("a");
    client.say(START);
    client.wait(45_000);
    expect(client.done).toEqual([15_000, 30_000, 45_000].map((at) => ({ at, what: "ping" })));
    client.wait(100_000, false);
    expect(client.done.slice(3)).toEqual([
      ...[60_000, 75_000, 90_000].map((at) => ({ at, what: "ping" })),
      { at: 105_000, what: "terminate" },
    ]);
    expect(tap.attached).toBe(false);
  });

  it("whatever is said, it neither throws nor holds more than its queue", () => {
    const message = fc.oneof(
      fc.constantFrom(START, STOP),
      fc.json(),
      fc.record({ type: fc.constantFrom("start_streaming", "x"), filters: fc.anything() }).map((v) => {
        try {
          return JSON.stringify(v) ?? "";
        } catch {
          return "";
        }
      }),
    );
    fc.assert(
      fc.property(fc.array(message, { maxLength: 12 }), (messages) => {
        const { open, tap } = connector();
        const client = open("a");
        client.peer.blocked = true;
        for (const each of messages) {
          client.say(each);
          for (let i = 0; i < 5; i++) tap.logger.info("line");
        }
        client.peer.blocked = false;
        client.stream.writable("t");
        expect(client.sent.length).toBeLessThanOrEqual(31);
        expect(client.done.filter(({ what }) => what.startsWith("close")).length).toBeLessThanOrEqual(1);
      }),
      { numRuns: 200, seed: 6 },
    );
  });
});
