/** WebSocket frames and SOCKS5 handshakes of any kind: typed errors, the same result however the bytes are cut, bounded memory, one outcome. */
import net from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { addressText } from "../../src/protocol/bytes/ip-address.ts";
import { Socks5Error } from "../../src/protocol/socks5/errors.ts";
import { Socks5Server } from "../../src/protocol/socks5/server.ts";
import { WebSocketError } from "../../src/protocol/websocket/errors.ts";
import { FrameReader } from "../../src/protocol/websocket/frame-reader.ts";
import { writeFrameHeader } from "../../src/protocol/websocket/frames.ts";
import { IpPolicy } from "../../src/proxy/socks5/ip-policy.ts";
import type { Service } from "../../src/types.ts";
import { FakeStream, webSocketRequest } from "../proxy/fake-stream.ts";
import { Cleanup, Harness, portOf, type RawOrigin } from "../proxy/harness.ts";

const BOX = { numRuns: 100_000, interruptAfterTimeLimit: 1_200 };

/** A client's frame; `first` is FIN, RSV and opcode. */
function frame(first: number, payload: Buffer, key: Buffer): Buffer {
  const head = Buffer.alloc(10);
  const header = head.subarray(0, writeFrameHeader(head, 0, payload.length));
  header[0] = first;
  header[1] = (header[1] ?? 0) | 0x80;
  return Buffer.concat([header, key, payload.map((byte, i) => byte ^ (key[i & 3] ?? 0))]);
}

const bytes = (maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));
const key = fc.uint8Array({ minLength: 4, maxLength: 4 }).map((array) => Buffer.from(array));

/** Mostly frames that are right. */
const frames = fc
  .array(
    fc.oneof(
      { weight: 8, arbitrary: fc.tuple(fc.constantFrom(0x81, 0x82, 0x89, 0x8a), bytes(120), key) },
      { weight: 3, arbitrary: fc.tuple(fc.constantFrom(0x01, 0x02, 0x00, 0x80), bytes(300), key) },
      { weight: 1, arbitrary: fc.tuple(fc.constant(0x88), bytes(6), key) },
      { weight: 1, arbitrary: fc.tuple(fc.nat(255), bytes(200), key) },
    ),
    { maxLength: 8 },
  )
  .map((list) => Buffer.concat(list.map(([first, payload, mask]) => frame(first, payload, mask))));

const anything = fc.oneof({ weight: 3, arbitrary: frames }, { weight: 1, arbitrary: bytes(60) });

/** `source` in pieces that end at `cuts`. */
function cut(source: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [...cuts.map((each) => Math.min(each, source.length)), source.length].sort((a, b) => a - b);
  let from = 0;
  return at.map((to) => {
    const piece = Buffer.from(source.subarray(from, to));
    from = to;
    return piece;
  });
}

const cutting = fc.array(fc.nat(900), { maxLength: 12 });

describe("a WebSocket frame reader", () => {
  function read(pieces: readonly Buffer[]): string[] {
    const events: string[] = [];
    let payload = "";
    const reader = new FrameReader({
      onPayload: (view) => (payload += view.toString("hex")),
      onPing: (view) => events.push(`ping ${view.toString("hex")}`),
      onClose: (code) => events.push(`close ${code}`),
    });
    try {
      for (const piece of pieces) reader.receive(piece);
    } catch (error) {
      if (!(error instanceof WebSocketError)) throw error;
      events.push(`error ${error.closeCode} ${error.message}`);
    }
    return [...events, payload];
  }

  it("reads the same whatever the pieces", () => {
    fc.assert(
      fc.property(anything, cutting, (source, cuts) => {
        expect(read(cut(source, cuts))).toEqual(read([Buffer.from(source)]));
      }),
      BOX,
    );
  });
});

const handshake = fc
  .tuple(
    fc.constantFrom("050100", "05020200", "0500", "050102", "04", "", "05ff"),
    fc.constantFrom("05010001", "05010003", "05010004", "05020001", "05010009", "", "06"),
    bytes(30),
  )
  .map(([greeting, request, rest]) => Buffer.concat([Buffer.from(greeting + request, "hex"), rest]));

describe("a SOCKS5 server", () => {
  function run(pieces: readonly Buffer[]): string[] {
    const events: string[] = [];
    let rest = "";
    const server = new Socks5Server({
      send: (reply) => events.push(`send ${reply.toString("hex")}`),
      onConnect: ({ host, port }) => events.push(`connect ${host} ${port}`),
    });
    try {
      for (const piece of pieces) rest += piece.subarray(server.receive(piece)).toString("hex");
    } catch (error) {
      if (!(error instanceof Socks5Error)) throw error;
      events.push(`error ${error.message} ${error.answer?.toString("hex")}`);
    }
    return [...events, rest];
  }

  it("does the same whatever the pieces", () => {
    fc.assert(
      fc.property(fc.oneof(handshake, bytes(300)), cutting, (source, cuts) => {
        expect(run(cut(source, cuts))).toEqual(run([Buffer.from(source)]));
      }),
      BOX,
    );
  });
});

describe("ipRules", () => {
  const LOOPBACK_BYTES = fc.oneof(
    fc.tuple(fc.constant(127), fc.nat(255), fc.nat(255), fc.nat(255)),
    fc.constant([0, 0, 0, 0]),
  );
  /** Of an IPv4 address: in IPv6 form, IPv4-compatible, translated by NAT64. */
  const LEADS = ["00000000000000000000ffff", "000000000000000000000000", "0064ff9b0000000000000000", ""];
  const policy = new IpPolicy([
    { prefix: "127.0.0.0/8", ports: [], allow: false },
    { prefix: "::1/128", ports: [], allow: false },
    { prefix: "0.0.0.0/0", ports: [], allow: true },
    { prefix: "::/0", ports: [], allow: true },
  ]);

  /** One of the texts of an address: `::` or not, upper case or not, dotted or not, zeros ahead or not. */
  function textOf(address: Buffer, style: number): string {
    if (address.length === 4) return address.join(".");
    const hex = addressText(address).split(":");
    const groups = style & 1 ? hex.map((group) => group.padStart(4, "0")) : hex;
    if (style & 2) groups.splice(6, 2, address.subarray(12).join("."));
    const text = groups.join(":");
    const short = style & 4 ? text.replace(/(?:^|:)0+(?::0+)+(?=:|$)/, ":").replace(/^:(?!:)|(?<!:):$/, "::") : text;
    return style & 8 ? short.toUpperCase() : short;
  }

  it("that forbid this machine forbid it in every form", () => {
    fc.assert(
      fc.property(LOOPBACK_BYTES, fc.constantFrom(...LEADS), fc.nat(15), (last, lead, style) => {
        const text = textOf(Buffer.concat([Buffer.from(lead, "hex"), Buffer.from(last)]), style);
        expect([text, policy.allows(text, 80)]).toEqual([text, false]);
      }),
      BOX,
    );
  });

  it("never throw, whatever an address is said to be", () => {
    const part = fc.constantFrom("::", ":", ".", "%", "/", "0", "ffff", "127.0.0.1", "0x7f", "1", "[", "]", "lo");
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(part, { maxLength: 12 }).map((parts) => parts.join("")),
        ),
        (text) => {
          if (net.isIP(text) === 0) expect([text, policy.allows(text, 80)]).toEqual([text, false]);
          else expect(typeof policy.allows(text, 80)).toBe("boolean");
        },
      ),
      BOX,
    );
  });
});

describe("a stream service, through sockets", () => {
  const cleanup = new Cleanup();
  let origin: RawOrigin;
  let services: Service[];
  beforeAll(async () => {
    origin = await cleanup.raw((connection) => {
      // "R" resets, "E" ends, anything else comes back.
      connection.socket.on("data", (chunk) => {
        if (chunk.includes("R")) connection.socket.resetAndDestroy();
        else if (chunk.includes("E")) connection.socket.end("bye");
        else connection.write(chunk);
      });
      connection.socket.on("end", () => connection.socket.end());
    });
    const tcp: Service = { kind: "tcp", scheme: "tcp", host: "127.0.0.1", port: portOf(origin.server) };
    services = [tcp, { kind: "socks-proxy" }];
  });
  afterAll(() => cleanup.run());

  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant("give" as const), data: anything }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("text" as const), data: fc.constantFrom("a", "R", "E") }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("turn" as const) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("drain" as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("end" as const, "cancel" as const) }) },
  );

  it("has one outcome, gives all credit back, and never throws", async () => {
    const harnesses = services.map((service) =>
      cleanup.add(
        new Harness(service, { ipRules: [{ prefix: "127.0.0.1/32", ports: [], allow: true }] }),
        ({ proxy }) => proxy.close(),
      ),
    );
    const greeting = `050100050100017f000001${portOf(origin.server).toString(16).padStart(4, "0")}`;
    const hello = frame(0x82, Buffer.from(greeting, "hex"), Buffer.alloc(4));
    const done = harnesses.map(() => 0);
    await fc.assert(
      fc.asyncProperty(fc.nat(1), fc.boolean(), fc.array(step, { maxLength: 12 }), async (index, greets, steps) => {
        const harness = harnesses[index];
        if (harness === undefined) throw new Error("unreachable");
        const stream = new FakeStream({ window: 2_000 });
        harness.proxy.handle(webSocketRequest(stream), 0);
        if (greets && index === 1) stream.give(hello);
        let open = true;
        for (const each of steps) {
          if (!open) break;
          switch (each.kind) {
            case "give":
              stream.give(each.data);
              break;
            case "text":
              stream.give(frame(0x82, Buffer.from(each.data), Buffer.alloc(4)));
              break;
            case "turn":
              await new Promise(setImmediate);
              break;
            case "drain":
              stream.drain();
              break;
            case "end":
              stream.giveEnd();
              open = false;
              break;
            case "cancel":
              stream.cancel();
              open = false;
              break;
            default:
              throw new Error("unreachable");
          }
        }
        // In the end the visitor goes away.
        if (open || !stream.ended) stream.cancel();
        const count = (done[index] ?? 0) + 1;
        done[index] = count;
        await harness.outcome(count);
        for (let turns = 0; turns < 50 && stream.credited < stream.given; turns++) await new Promise(setImmediate);
        expect(stream.credited).toBe(stream.given);
        expect(harness.outcomes.length).toBe(count);
        expect(harness.proxy.activeRequests).toBe(0);
      }),
      { numRuns: 100_000, interruptAfterTimeLimit: 3_000 },
    );
    expect(Math.min(...done)).toBeGreaterThan(20);
  });

  it("keeps no more than a message of control for whoever never ends one", () => {
    const memory = (): number => process.memoryUsage().arrayBuffers;
    const streams: FakeStream[] = [];
    const harness = cleanup.add(new Harness({ kind: "socks-proxy" }), ({ proxy }) => proxy.close());
    const before = memory();
    for (let i = 0; i < 200; i++) {
      const stream = new FakeStream();
      streams.push(stream);
      harness.proxy.handle(webSocketRequest(stream), 0);
      // A frame of 2^40 bytes, a SOCKS5 greeting that never ends, a ping that never ends.
      stream.give(Buffer.from("82ff00000100000000000000000005ff", "hex"));
      for (let n = 0; n < 200; n++) stream.give(Buffer.from([0x07]));
    }
    expect(memory() - before).toBeLessThan(10_000_000);
    expect(streams.every(({ credited, given }) => credited === given)).toBe(true);
    for (const stream of streams) stream.cancel();
  });
});
