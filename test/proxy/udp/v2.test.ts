/** UDP sessions over datagrams version 2: registered by RPC, real sockets on loopback (wire § 6). */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { afterEach, describe, expect, it, vi } from "vitest";
import { parseSessionId } from "../../../src/protocol/datagram/session-id.ts";
import { readDatagramV2, writeUdpV2 } from "../../../src/protocol/datagram/v2.ts";
import { LocalResolvers } from "../../../src/proxy/local-resolvers.ts";
import { DatagramHarness, type Link, turns, UdpOrigin } from "./harness.ts";
import { closedUdpPort } from "../../ports.ts";

function idOf(sessionId: string): string {
  return parseSessionId(sessionId) ?? "";
}

async function register(
  link: Link,
  port: number,
  more: { sessionId?: string; dstIp?: string; closeAfterIdleMs?: number } = {},
) {
  const request = { sessionId: randomUUID(), dstIp: "127.0.0.1", dstPort: port, closeAfterIdleMs: 0, ...more };
  await link.connection.registerUdpSession(request);
  return request.sessionId;
}

function send(link: Link, sessionId: string, payload: string | Buffer): void {
  link.channel.deliver(writeUdpV2(idOf(sessionId), Buffer.from(payload)));
}

async function answer(link: Link): Promise<{ sessionId: string; payload: string }> {
  const read = readDatagramV2(await link.channel.next());
  if (read.kind !== "udp") throw new Error(`the edge got ${read.kind}`);
  return { sessionId: read.sessionId, payload: read.payload.toString() };
}

describe("sessions", () => {
  for (const host of ["127.0.0.1", "::1"]) {
    it(`carry payloads both ways over ${host}, empty ones too`, async () => {
      const harness = new DatagramHarness();
      const origin = await UdpOrigin.start(host);
      const link = harness.attach(2);
      const sessionId = await register(link, origin.port, { dstIp: host });
      for (const payload of ["hello", "", "x".repeat(1200)]) {
        send(link, sessionId, payload);
        expect(await answer(link)).toEqual({ sessionId: idOf(sessionId), payload: `echo ${payload}` });
      }
      origin.answer = () => Buffer.alloc(0);
      send(link, sessionId, "silence");
      expect((await answer(link)).payload).toBe("");
      expect(harness.observer.told).toEqual(["sessionOpened 2 0"]);
      expect(harness.proxy.activeSessions).toBe(1);
    });
  }

  it("are told apart, each with a port of its own", async () => {
    const harness = new DatagramHarness();
    const origin = await UdpOrigin.start();
    const links = [harness.attach(2, 0), harness.attach(2, 1)] as const;
    const ids = await Promise.all([0, 1, 2].map(() => register(links[0], origin.port)));
    // The same id on another connection is another session.
    const other = await register(links[1], origin.port, { sessionId: ids[0] ?? "" });
    for (const id of ids) send(links[0], id, id);
    for (let i = 0; i < ids.length; i++) {
      const { sessionId, payload } = await answer(links[0]);
      expect(idOf(payload.replace("echo ", ""))).toBe(sessionId);
    }
    send(links[1], other, "other");
    expect((await answer(links[1])).payload).toBe("echo other");
    expect(new Set(origin.received.map(({ port }) => port)).size).toBe(4);
  });

  it("take nothing of anyone but their destination", async () => {
    const harness = new DatagramHarness();
    const [origin, stranger] = [await UdpOrigin.start(), await UdpOrigin.start()];
    const link = harness.attach(2);
    const sessionId = await register(link, origin.port);
    send(link, sessionId, "where are you");
    const { port } = await origin.got();
    await answer(link);
    stranger.socket.send("forged", port, "127.0.0.1");
    send(link, sessionId, "more");
    expect((await answer(link)).payload).toBe("echo more");
    expect(link.channel.sent).toEqual([]);
  });

  it("registered again: the same session; with another destination: a new one in its place", async () => {
    const harness = new DatagramHarness();
    const [origin, other] = [await UdpOrigin.start(), await UdpOrigin.start()];
    const link = harness.attach(2);
    const sessionId = await register(link, origin.port);
    await register(link, origin.port, { sessionId });
    send(link, sessionId, "1");
    await register(link, other.port, { sessionId });
    send(link, sessionId, "2");
    expect((await other.got()).payload).toBe("2");
    expect(origin.received.map(({ payload }) => payload)).toEqual(["1"]);
    expect(harness.proxy.activeSessions).toBe(1);
    expect(harness.flows.active).toBe(1);
    await turns();
    // Its id lives on: there is nothing to tell the edge.
    expect(link.edge.calls).toEqual([]);
  });

  it("registered twice at once: one session", async () => {
    const harness = new DatagramHarness();
    const origin = await UdpOrigin.start();
    const link = harness.attach(2);
    const sessionId = randomUUID();
    await Promise.all([register(link, origin.port, { sessionId }), register(link, origin.port, { sessionId })]);
    expect(harness.proxy.activeSessions).toBe(1);
    expect(harness.observer.told).toEqual(["sessionOpened 2 0"]);
  });
});

describe("what does not get through", () => {
  it("payloads of origins above 1280 bytes, and what the connection does not take: dropped, the session goes on", async () => {
    const harness = new DatagramHarness();
    const origin = await UdpOrigin.start();
    const link = harness.attach(2);
    const sessionId = await register(link, origin.port);
    origin.answer = () => Buffer.alloc(1281);
    send(link, sessionId, "too much");
    await harness.observer.saw("udpDropped 2 0 read_too_large");
    origin.answer = () => Buffer.alloc(1280, "a");
    link.channel.accepts = false;
    send(link, sessionId, "not now");
    await harness.observer.saw("udpDropped 2 0 send_failed");
    link.channel.accepts = true;
    send(link, sessionId, "now");
    expect((await answer(link)).payload).toBe("a".repeat(1280));
  });

  it("payloads for unknown sessions, malformed datagrams, spans: dropped, the connection goes on", async () => {
    const harness = new DatagramHarness();
    const link = harness.attach(2);
    send(link, randomUUID(), "nobody");
    const spans = Buffer.concat([Buffer.alloc(25), Buffer.of(3)]);
    for (const datagram of [Buffer.alloc(0), Buffer.of(0), Buffer.of(9), spans]) link.channel.deliver(datagram);
    // ICMP is off.
    link.channel.deliver(Buffer.of(0x45, 1));
    expect(harness.observer.told).toEqual([
      "udpDropped 2 0 write_flow_unknown",
      ...Array.from({ length: 4 }, () => "udpDropped 2 0 malformed"),
    ]);
    expect(link.edge.calls).toEqual([]);
  });
});

describe("what can't be registered", () => {
  it("more than the limit of flows, which TCP streams count for too; a place given back is free", async () => {
    const harness = new DatagramHarness();
    const origin = await UdpOrigin.start();
    const link = harness.attach(2);
    harness.flows.limit = 2;
    const releaseTcp = harness.flows.acquire();
    const sessionId = await register(link, origin.port);
    await expect(register(link, origin.port)).rejects.toThrow("too many active flows");
    releaseTcp?.();
    await register(link, origin.port);
    await expect(register(link, origin.port)).rejects.toThrow("too many active flows");
    link.connection.unregisterUdpSession(sessionId, "done");
    await register(link, origin.port);
    expect(harness.flows.active).toBe(2);
  });

  it("a destination that can't be: the edge is told why, and the place is free again", async () => {
    const harness = new DatagramHarness();
    const link = harness.attach(2);
    harness.flows.limit = 1;
    for (let i = 0; i < 5; i++)
      await expect(register(link, 0)).rejects.toMatchObject({
        code: "ERR_UNDERPASS_UDP_SESSION",
        message: expect.stringMatching(/^dial udp 127\.0\.0\.1:0: connect: ./),
      });
    // Linux and macOS ask for a permission that nobody gave.
    await expect(register(link, 9, { dstIp: "255.255.255.255" })).rejects.toThrow(
      "dial udp 255.255.255.255:9: connect: permission denied",
    );
    await expect(register(link, 9, { sessionId: "no uuid" })).rejects.toThrow("no UUID");
    expect(harness.flows.active).toBe(0);
    expect(harness.observer.count("sessionFailed 2 0")).toBe(6);
    expect(link.edge.calls).toEqual([]);
  });
});

describe("the end of a session", () => {
  it("by the edge: nobody is told, and the origin finds nobody", async () => {
    const harness = new DatagramHarness();
    const origin = await UdpOrigin.start();
    const link = harness.attach(2);
    const sessionId = await register(link, origin.port);
    send(link, sessionId, "hello");
    await answer(link);
    link.connection.unregisterUdpSession(sessionId, "client gone");
    link.connection.unregisterUdpSession(sessionId, "unknown by now");
    link.connection.unregisterUdpSession("no uuid", "neither");
    send(link, sessionId, "more");
    expect(harness.observer.told).toEqual([
      "sessionOpened 2 0",
      "sessionClosed 2 0",
      "udpDropped 2 0 write_flow_unknown",
    ]);
    expect(harness.flows.active).toBe(0);
    await turns();
    expect(link.edge.calls).toEqual([]);
  });

  it("by the edge while it is being opened", async () => {
    const harness = new DatagramHarness();
    const origin = await UdpOrigin.start();
    const link = harness.attach(2);
    const sessionId = randomUUID();
    const opening = register(link, origin.port, { sessionId });
    link.connection.unregisterUdpSession(sessionId, "changed its mind");
    await expect(opening).rejects.toThrow("changed its mind");
    expect(harness.flows.active).toBe(0);
    await turns();
    expect(harness.observer.told).toEqual([]);
  });

  it("by an origin that is not there: the edge is told in Go's words", async () => {
    const harness = new DatagramHarness();
    const port = await closedUdpPort();
    const link = harness.attach(2);
    const sessionId = await register(link, port);
    send(link, sessionId, "anyone?");
    await link.edge.called();
    expect(link.edge.calls).toEqual([
      {
        sessionId,
        message: expect.stringMatching(
          new RegExp(`^read udp 127\\.0\\.0\\.1:\\d+->127\\.0\\.0\\.1:${port}: read: connection refused$`),
        ),
      },
    ]);
    expect(harness.observer.told).toEqual(["sessionOpened 2 0", "sessionFailed 2 0", "sessionClosed 2 0"]);
    expect(harness.flows.active).toBe(0);
  });

  it("with the connection: silently, and nothing is registered on it any more", async () => {
    const harness = new DatagramHarness();
    const origin = await UdpOrigin.start();
    const [link, other] = [harness.attach(2, 0), harness.attach(2, 1)];
    const ids = await Promise.all([0, 1, 2].map(() => register(link, origin.port)));
    const kept = await register(other, origin.port);
    link.connection.close();
    link.connection.close();
    for (const id of ids) send(link, id, "late");
    await expect(register(link, origin.port)).rejects.toThrow("session manager closed");
    expect(harness.flows.active).toBe(1);
    send(other, kept, "still here");
    expect((await answer(other)).payload).toBe("echo still here");
    expect(link.edge.calls).toEqual([]);
    expect(origin.received).toHaveLength(1);
    harness.proxy.close();
    expect(harness.flows.active).toBe(0);
    await expect(register(harness.attach(2, 2), origin.port)).rejects.toThrow("session manager closed");
  });
});

describe("without traffic", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  function virtualTime(): void {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  }

  for (const [closeAfterIdleMs, message] of [
    [8_000, "session idle for 8s"],
    [0, "session idle for 3m30s"],
    [1_500, "session idle for 1.5s"],
  ] as const) {
    it(`ends after ${closeAfterIdleMs} ms: ${message}`, async () => {
      const harness = new DatagramHarness();
      const origin = await UdpOrigin.start();
      const link = harness.attach(2);
      virtualTime();
      const sessionId = await register(link, origin.port, { closeAfterIdleMs });
      vi.advanceTimersByTime((closeAfterIdleMs || 210_000) - 1);
      expect(link.edge.calls).toEqual([]);
      vi.advanceTimersByTime(2);
      expect(link.edge.calls).toEqual([{ sessionId, message }]);
      expect(harness.flows.active).toBe(0);
    });
  }

  it("counts from the last payload, of either side", async () => {
    const harness = new DatagramHarness();
    const origin = await UdpOrigin.start();
    origin.answer = () => undefined;
    const link = harness.attach(2);
    virtualTime();
    const sessionId = await register(link, origin.port, { closeAfterIdleMs: 1000 });
    send(link, sessionId, "hello");
    const { port } = await origin.got();
    for (let i = 0; i < 5; i++) {
      vi.advanceTimersByTime(900);
      if (i % 2 === 0) send(link, sessionId, "on");
      else {
        origin.socket.send("on", port, "127.0.0.1");
        await link.channel.next();
      }
    }
    vi.advanceTimersByTime(999);
    expect(link.edge.calls).toEqual([]);
    vi.advanceTimersByTime(2);
    expect(link.edge.calls).toHaveLength(1);
  });

  it("many at once: sixteen calls at a time, and those that fail hold up none", async () => {
    const harness = new DatagramHarness();
    const origin = await UdpOrigin.start();
    const link = harness.attach(2);
    virtualTime();
    const waiting: ((error?: Error) => void)[] = [];
    link.edge.answer = () =>
      new Promise((resolve, reject) => waiting.push((error) => (error === undefined ? resolve() : reject(error))));
    for (let i = 0; i < 40; i++) await register(link, origin.port, { closeAfterIdleMs: 1000 });
    vi.advanceTimersByTime(1001);
    expect(link.edge.calls).toHaveLength(16);
    while (link.edge.calls.length < 40 || link.edge.running > 0) {
      for (const settle of waiting.splice(0)) settle(waiting.length % 2 === 0 ? undefined : new Error("no answer"));
      await turns(1);
    }
    expect(link.edge.mostRunning).toBe(16);
    expect(new Set(link.edge.calls.map(({ sessionId }) => sessionId)).size).toBe(40);
  });
});

describe("the virtual DNS address", () => {
  const VIRTUAL = "2606:4700:cf1:2000:0:0:0:1";

  it("is this machine's resolver", async () => {
    const resolver = await UdpOrigin.start();
    const harness = new DatagramHarness({ resolvers: new LocalResolvers([], () => [`127.0.0.1:${resolver.port}`]) });
    const link = harness.attach(2);
    const sessionId = await register(link, 53, { dstIp: VIRTUAL });
    send(link, sessionId, "query");
    expect((await answer(link)).payload).toBe("echo query");
    expect(harness.observer.told).toEqual(["dnsSession", "sessionOpened 2 0"]);
    expect(harness.flows.active).toBe(1);
  });

  it("is the next resolver where the first can't be reached; the query goes there by itself", async () => {
    const resolver = await UdpOrigin.start();
    const nothing = await closedUdpPort();
    const servers = [`127.0.0.1:${nothing}`, `127.0.0.1:${resolver.port}`];
    const harness = new DatagramHarness({ resolvers: new LocalResolvers([], () => servers) });
    const link = harness.attach(2);
    const sessionId = await register(link, 53, { dstIp: VIRTUAL });
    send(link, sessionId, "query");
    expect((await answer(link)).payload).toBe("echo query");
    expect(link.edge.calls).toEqual([]);
    // From now on it is this one: what it does counts.
    resolver.socket.close();
    await once(resolver.socket, "close");
    send(link, sessionId, "another");
    await link.edge.called();
    expect(link.edge.calls[0]?.message).toContain("connection refused");
  });

  it("is only that address and port 53", async () => {
    const resolver = await UdpOrigin.start();
    const harness = new DatagramHarness({ resolvers: new LocalResolvers([], () => [`127.0.0.1:${resolver.port}`]) });
    const link = harness.attach(2);
    await register(link, 5353, { dstIp: VIRTUAL }).catch(() => undefined);
    await register(link, 53, { dstIp: "2606:4700:cf1:2000::2" }).catch(() => undefined);
    expect(harness.observer.count("dnsSession")).toBe(0);
  });
});
