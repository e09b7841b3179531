/** UDP sessions over datagrams version 3: registered by datagrams, shared by all connections, real sockets on loopback (wire § 7). */
import { randomBytes } from "node:crypto";
import { afterEach, describe, expect, it, vi } from "vitest";
import { readDatagramV3, ResponseCode, writePayloadV3, writeRegistration } from "../../../src/protocol/datagram/v3.ts";
import { DatagramHarness, type Link, turns, UdpOrigin } from "./harness.ts";
import { freePort } from "../../ports.ts";

const hex = (text: string): Buffer => Buffer.from(text, "hex");

function newId(): string {
  return randomBytes(16).toString("latin1");
}

interface Given {
  readonly requestId?: string;
  readonly address?: string;
  readonly idleSeconds?: number;
  readonly payload?: string;
}

/** Sends a registration, and returns its id. */
function ask(link: Link, port: number, { requestId = newId(), payload, ...given }: Given = {}): string {
  link.channel.deliver(
    writeRegistration({
      requestId,
      address: "127.0.0.1",
      port,
      idleSeconds: 0,
      traced: false,
      payload: payload === undefined ? undefined : Buffer.from(payload),
      ...given,
    }),
  );
  return requestId;
}

/** The code of the next datagram, which is an answer to `requestId`. */
async function response(link: Link, requestId: string): Promise<number> {
  const read = readDatagramV3(await link.channel.next());
  if (read.kind !== "response" || read.requestId !== requestId) throw new Error(`the edge got ${read.kind}`);
  expect(read.text).toBe("");
  return read.code;
}

async function register(link: Link, port: number, given: Given = {}): Promise<string> {
  const requestId = ask(link, port, given);
  expect(await response(link, requestId)).toBe(ResponseCode.ok);
  return requestId;
}

function send(link: Link, requestId: string, payload: string): void {
  link.channel.deliver(writePayloadV3(requestId, Buffer.from(payload)));
}

async function answer(link: Link): Promise<string> {
  const read = readDatagramV3(await link.channel.next());
  if (read.kind !== "payload") throw new Error(`the edge got ${read.kind}`);
  return read.payload.toString();
}

describe("sessions", () => {
  for (const address of ["127.0.0.1", "::1", "::ffff:127.0.0.1"]) {
    it(`carry payloads both ways to ${address}, empty ones too`, async () => {
      const harness = new DatagramHarness();
      const origin = await UdpOrigin.start(address === "::1" ? "::1" : "127.0.0.1");
      const link = harness.attach(3);
      const requestId = await register(link, origin.port, { address });
      for (const payload of ["hello", "", "x".repeat(1200)]) {
        send(link, requestId, payload);
        expect(await answer(link)).toBe(`echo ${payload}`);
      }
      expect(harness.observer.told).toEqual(["sessionOpened 3 0"]);
    });
  }

  it("in golden bytes", async () => {
    const harness = new DatagramHarness();
    const origin = await UdpOrigin.start();
    origin.answer = () => Buffer.from("ho");
    const link = harness.attach(3);
    const port = origin.port.toString(16).padStart(4, "0");
    link.channel.deliver(hex(`0000${port}0005000102030405060708090a0b0c0d0e0f7f000001`));
    expect((await link.channel.next()).toString("hex")).toBe("0300000102030405060708090a0b0c0d0e0f0000");
    link.channel.deliver(hex("01000102030405060708090a0b0c0d0e0f6869"));
    expect((await link.channel.next()).toString("hex")).toBe("01000102030405060708090a0b0c0d0e0f686f");
    expect((await origin.got()).payload).toBe("hi");
  });

  it("the payload that came with the registration is delivered, once", async () => {
    const harness = new DatagramHarness();
    const origin = await UdpOrigin.start();
    const link = harness.attach(3);
    const requestId = await register(link, origin.port, { payload: "first" });
    expect(await answer(link)).toBe("echo first");
    await register(link, origin.port, { requestId, payload: "first" });
    send(link, requestId, "second");
    expect(await answer(link)).toBe("echo second");
    expect(origin.received.map(({ payload }) => payload)).toEqual(["first", "second"]);
  });

  it("registered again: the same session, and another answer", async () => {
    const harness = new DatagramHarness();
    const origin = await UdpOrigin.start();
    const link = harness.attach(3);
    const requestId = ask(link, origin.port);
    // The second and third come before the first is open: one answer.
    ask(link, origin.port, { requestId });
    ask(link, origin.port, { requestId });
    expect(await response(link, requestId)).toBe(ResponseCode.ok);
    await turns();
    expect(link.channel.sent).toEqual([]);
    await register(link, origin.port, { requestId });
    expect(harness.observer.told).toEqual(["sessionOpened 3 0", "registrationRepeated 0"]);
    expect(harness.flows.active).toBe(1);
  });

  it("take payloads from any connection, and answer on their own", async () => {
    const harness = new DatagramHarness();
    const origin = await UdpOrigin.start();
    const [owner, other] = [harness.attach(3, 0), harness.attach(3, 1)];
    const requestId = await register(owner, origin.port);
    send(other, requestId, "from elsewhere");
    expect(await answer(owner)).toBe("echo from elsewhere");
    expect(other.channel.sent).toEqual([]);
  });
});

describe("a session that the edge moves to another connection", () => {
  it("keeps its socket, answers there, and outlives the first connection", async () => {
    const harness = new DatagramHarness();
    const origin = await UdpOrigin.start();
    const [first, second] = [harness.attach(3, 0), harness.attach(3, 1)];
    const requestId = await register(first, origin.port);
    send(first, requestId, "1");
    expect(await answer(first)).toBe("echo 1");
    await register(second, origin.port, { requestId });
    first.connection.close();
    send(second, requestId, "2");
    expect(await answer(second)).toBe("echo 2");
    expect(first.channel.sent).toEqual([]);
    expect(new Set(origin.received.map(({ port }) => port)).size).toBe(1);
    expect(harness.observer.told).toEqual(["sessionOpened 3 0", "sessionMigrated 0 1"]);
    expect(harness.flows.active).toBe(1);
    harness.proxy.close();
    expect(harness.observer.told.at(-1)).toBe("sessionClosed 3 1");
    expect(harness.flows.active).toBe(0);
  });

  it("while it is being opened: the answer comes there", async () => {
    const harness = new DatagramHarness();
    const origin = await UdpOrigin.start();
    const [first, second] = [harness.attach(3, 0), harness.attach(3, 1)];
    const requestId = ask(first, origin.port);
    ask(second, origin.port, { requestId });
    expect(await response(second, requestId)).toBe(ResponseCode.ok);
    expect(first.channel.sent).toEqual([]);
    expect(harness.observer.told).toEqual(["sessionOpened 3 1"]);
  });

  it("to the connection that replaced its own under the same index", async () => {
    const harness = new DatagramHarness();
    const origin = await UdpOrigin.start();
    const old = harness.attach(3, 2);
    const requestId = await register(old, origin.port);
    old.connection.close();
    const replacement = harness.attach(3, 2);
    await register(replacement, origin.port, { requestId });
    send(replacement, requestId, "still the same");
    expect(await answer(replacement)).toBe("echo still the same");
    expect(harness.flows.active).toBe(1);
  });
});

describe("a session whose connection is gone", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it("waits five seconds for another, then ends", async () => {
    const harness = new DatagramHarness();
    const origin = await UdpOrigin.start();
    origin.answer = () => undefined;
    const [first, second] = [harness.attach(3, 0), harness.attach(3, 1)];
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
    const ids = [await register(first, origin.port), await register(first, origin.port)];
    send(first, ids[0] ?? "", "hello");
    const { port } = await origin.got();
    first.connection.close();
    origin.socket.send("nobody to bring it to", port, "127.0.0.1");
    await harness.observer.saw("udpDropped 3 0 send_failed");
    vi.advanceTimersByTime(4999);
    expect(harness.flows.active).toBe(2);
    await register(second, origin.port, { requestId: ids[0] ?? "" });
    vi.advanceTimersByTime(2);
    expect(harness.flows.active).toBe(1);
    vi.advanceTimersByTime(5000);
    expect(harness.flows.active).toBe(1);
    send(second, ids[1] ?? "", "too late");
    expect(harness.observer.told.slice(-2)).toEqual(["sessionClosed 3 0", "udpDropped 3 1 write_flow_unknown"]);
  });
});

describe("what can't be registered", () => {
  it("is answered by a code, and keeps no place", async () => {
    const harness = new DatagramHarness();
    const origin = await UdpOrigin.start();
    const link = harness.attach(3);
    harness.flows.limit = 1;
    for (let i = 0; i < 5; i++) {
      const requestId = ask(link, 0);
      expect(await response(link, requestId)).toBe(ResponseCode.unableToBind);
    }
    const broadcast = ask(link, 9, { address: "255.255.255.255" });
    expect(await response(link, broadcast)).toBe(ResponseCode.unableToBind);
    expect(harness.flows.active).toBe(0);
    const requestId = await register(link, origin.port);
    const refused = ask(link, origin.port);
    expect(await response(link, refused)).toBe(ResponseCode.tooManyFlows);
    // One that there is needs no place.
    await register(link, origin.port, { requestId });
    expect(harness.observer.count("sessionFailed 3 0")).toBe(6);
  });

  it("cut short, of unknown types, or meant for the edge: dropped, the connection goes on", async () => {
    const harness = new DatagramHarness();
    const origin = await UdpOrigin.start();
    const link = harness.attach(3);
    const malformed = ["", "00", `0001${"00".repeat(35)}`, "01", "02", "04", `0300${"00".repeat(18)}`, "ff00"];
    for (const datagram of malformed) link.channel.deliver(hex(datagram));
    expect(harness.observer.told).toEqual(malformed.map(() => "udpDropped 3 0 malformed"));
    await register(link, origin.port);
  });

  it("by the calls of version 2", async () => {
    const harness = new DatagramHarness();
    const { connection } = harness.attach(3, 3);
    const request = { sessionId: "", dstIp: "127.0.0.1", dstPort: 53, closeAfterIdleMs: 0 };
    await expect(connection.registerUdpSession(request)).rejects.toThrow(
      /^datagram v3 does not support RegisterUdpSession RPC$/,
    );
    expect(() => connection.unregisterUdpSession("", "")).toThrow(
      /^datagram v3 does not support UnregisterUdpSession RPC$/,
    );
    expect(harness.observer.told).toEqual([
      "unsupportedCall 3 register_udp_session",
      "unsupportedCall 3 unregister_udp_session",
    ]);
  });
});

describe("what goes wrong on the way", () => {
  it("an origin that is not there costs a datagram; when it is back, the session is as before", async () => {
    const harness = new DatagramHarness();
    const port = await freePort();
    const link = harness.attach(3);
    const requestId = await register(link, port);
    send(link, requestId, "anyone?");
    await harness.observer.saw("udpDropped 3 0 read_failed");
    await UdpOrigin.start("127.0.0.1", port);
    send(link, requestId, "and now?");
    expect(await answer(link)).toBe("echo and now?");
  });

  it("too large, unknown, or more than the connection takes: dropped and counted", async () => {
    const harness = new DatagramHarness();
    const origin = await UdpOrigin.start();
    const link = harness.attach(3);
    const requestId = await register(link, origin.port);
    send(link, newId(), "nobody");
    origin.answer = () => Buffer.alloc(1281);
    send(link, requestId, "too much");
    await harness.observer.saw("udpDropped 3 0 read_too_large");
    origin.answer = () => Buffer.alloc(1280, "a");
    link.channel.accepts = false;
    send(link, requestId, "not now");
    await harness.observer.saw("udpDropped 3 0 send_failed");
    link.channel.accepts = true;
    send(link, requestId, "now");
    expect(await answer(link)).toHaveLength(1280);
    expect(harness.observer.count("udpDropped 3 0 write_flow_unknown")).toBe(1);
  });

  it("a lost answer: the edge asks again", async () => {
    const harness = new DatagramHarness();
    const origin = await UdpOrigin.start();
    const link = harness.attach(3);
    link.channel.accepts = false;
    const requestId = ask(link, origin.port);
    await harness.observer.saw("sessionOpened 3 0");
    link.channel.accepts = true;
    await register(link, origin.port, { requestId });
    expect(harness.flows.active).toBe(1);
  });
});

describe("without traffic", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  for (const [idleSeconds, milliseconds, reason] of [
    [5, 5_000, "flow was idle for 5s"],
    [0, 210_000, "flow was idle for 3m30s"],
    [65_535, 65_535_000, "flow was idle for 18h12m15s"],
  ] as const) {
    it(`${idleSeconds} s: ${reason}, and the edge hears nothing`, async () => {
      const harness = new DatagramHarness();
      const origin = await UdpOrigin.start();
      const link = harness.attach(3);
      vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
      const requestId = await register(link, origin.port, { idleSeconds });
      vi.advanceTimersByTime(milliseconds - 1);
      // Asking again is traffic.
      await register(link, origin.port, { requestId, idleSeconds });
      vi.advanceTimersByTime(milliseconds - 1);
      expect(harness.flows.active).toBe(1);
      vi.advanceTimersByTime(2);
      expect(harness.flows.active).toBe(0);
      expect(link.channel.sent).toEqual([]);
      expect(harness.logs.at(-1)).toMatchObject({ level: "debug", fields: { reason } });
    });
  }
});
