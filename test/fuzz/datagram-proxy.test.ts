/** Whatever an edge sends as datagrams, in whatever order: nothing is thrown, what is open stays bounded, and all of it is given back. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { writePayloadV3, writeRegistration } from "../../src/protocol/datagram/v3.ts";
import { writePacketV2, writeUdpV2 } from "../../src/protocol/datagram/v2.ts";
import type { UdpSocket } from "../../src/proxy/udp/origin-socket.ts";
import { DatagramHarness, turns } from "../proxy/udp/harness.ts";

/** Opens in the next turn of the loop, fails now and then, and answers what it is sent by the same. */
class EchoSocket implements UdpSocket {
  static open = 0;
  readonly #listeners = new Map<string, (...given: never[]) => void>();
  readonly #peer = { address: "", port: 0 };

  constructor() {
    EchoSocket.open++;
  }

  connect(port: number, address: string, callback: (error?: Error) => void): void {
    if (port === 0) throw new RangeError("port");
    Object.assign(this.#peer, { address, port });
    setImmediate(() => callback(port % 7 === 0 ? new Error("unreachable") : undefined));
  }

  send(bytes: Uint8Array, callback: (error: Error | null) => void): void {
    const isRefused = bytes[0] === 1;
    setImmediate(() => {
      callback(isRefused ? Object.assign(new Error("refused"), { code: "ECONNREFUSED" }) : null);
      if (bytes[0] === 2) this.#emit("error", new Error("refused"));
      this.#emit("message", Buffer.from(bytes), this.#peer);
    });
  }

  #emit(event: string, ...given: unknown[]): void {
    this.#listeners.get(event)?.(...(given as never[]));
  }

  getSendQueueCount(): number {
    return 0;
  }

  close(): void {
    EchoSocket.open--;
  }

  address(): { address: string; port: number } {
    return { address: "127.0.0.1", port: 1 };
  }

  remoteAddress(): { address: string; port: number } {
    return this.#peer;
  }

  on(event: string, listener: (...given: never[]) => void): void {
    this.#listeners.set(event, listener);
  }
}

const LIMIT = 4;
const ids = fc.integer({ min: 0, max: 5 }).map((id) => String(id).repeat(16));
const payloads = fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes));
const junk = fc.uint8Array({ maxLength: 60, size: "max" }).map((bytes) => Buffer.from(bytes));
const addresses = fc.constantFrom("127.0.0.1", "::1", "2606:4700:cf1:2000::1", "255.255.255.255", "::");

type Step = (harness: DatagramHarness, links: ReturnType<DatagramHarness["attach"]>[]) => void;
const link = fc.integer({ min: 0, max: 2 });

const onVersion3: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(link, ids, addresses, fc.integer({ min: 0, max: 60 }), fc.option(payloads)).map(
    ([index, requestId, address, port, payload]): Step =>
      (_, links) => {
        const registration = { requestId, address, port, idleSeconds: 1, traced: false, payload: payload ?? undefined };
        links[index]?.channel.deliver(writeRegistration(registration));
      },
  ),
  fc.tuple(link, ids, payloads).map(
    ([index, id, payload]): Step =>
      (_, links) => {
        links[index]?.channel.deliver(writePayloadV3(id, payload));
      },
  ),
  fc.tuple(link, junk, fc.integer({ min: 0, max: 4 })).map(
    ([index, bytes, type]): Step =>
      (_, links) => {
        links[index]?.channel.deliver(Buffer.concat([Buffer.of(type), bytes]));
      },
  ),
  link.map(
    (index): Step =>
      (harness, links) => {
        links[index]?.connection.close();
        links[index] = harness.attach(3, index);
      },
  ),
  link.map(
    (index): Step =>
      (_, links) => {
        const channel = links[index]?.channel;
        if (channel !== undefined) channel.accepts = !channel.accepts;
      },
  ),
);

const onVersion2: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(link, ids, addresses, fc.integer({ min: 0, max: 60 })).map(
    ([index, id, dstIp, dstPort]): Step =>
      (_, links) => {
        const sessionId = Buffer.from(id).toString("hex");
        const request = { sessionId, dstIp, dstPort, closeAfterIdleMs: 1000 };
        links[index]?.connection.registerUdpSession(request).catch(() => undefined);
      },
  ),
  fc.tuple(link, ids).map(
    ([index, id]): Step =>
      (_, links) => {
        links[index]?.connection.unregisterUdpSession(Buffer.from(id).toString("hex"), "bye");
      },
  ),
  fc.tuple(link, ids, payloads).map(
    ([index, id, payload]): Step =>
      (_, links) => {
        links[index]?.channel.deliver(writeUdpV2(id, payload));
      },
  ),
  fc.tuple(link, junk, fc.integer({ min: 0, max: 4 })).map(
    ([index, bytes, type]): Step =>
      (_, links) => {
        links[index]?.channel.deliver(Buffer.concat([bytes, Buffer.of(type)]));
      },
  ),
  fc.tuple(link, junk).map(
    ([index, bytes]): Step =>
      (_, links) =>
        links[index]?.channel.deliver(writePacketV2(bytes)),
  ),
  link.map(
    (index): Step =>
      (harness, links) => {
        links[index]?.connection.close();
        links[index] = harness.attach(2, index);
      },
  ),
);

describe("a hostile edge", () => {
  for (const [version, steps] of [
    [2, onVersion2],
    [3, onVersion3],
  ] as const) {
    it(`version ${version}`, async () => {
      let opened = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(steps, { minLength: 1, maxLength: 60, size: "max" }), async (program) => {
          // No ping, and so no process, can be found.
          const icmp = { env: {}, sourceV4: "127.0.0.1", sourceV6: "::1" };
          const harness = new DatagramHarness({ createSocket: () => new EchoSocket(), icmp });
          harness.flows.limit = LIMIT;
          const links = [0, 1, 2].map((index) => harness.attach(version, index));
          for (const [index, step] of program.entries()) {
            step(harness, links);
            expect(harness.proxy.activeSessions).toBeLessThanOrEqual(LIMIT);
            expect(harness.flows.active).toBe(harness.proxy.activeSessions);
            if (index % 5 === 0) await turns(2);
          }
          await turns(3);
          expect(EchoSocket.open).toBe(harness.flows.active);
          harness.proxy.close();
          expect(harness.flows.active).toBe(0);
          expect(EchoSocket.open).toBe(0);
          const count = (method: string): number =>
            harness.observer.told.filter((line) => line.startsWith(method)).length;
          expect(count("sessionClosed")).toBe(count("sessionOpened"));
          opened += count("sessionOpened");
        }),
        { numRuns: 150 },
      );
      expect(opened).toBeGreaterThan(300);
    });
  }
});
