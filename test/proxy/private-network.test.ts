/** TCP streams of the private network: how many at once, for how long, and the virtual DNS address. */
import { once } from "node:events";
import net from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { defaultWarpRouting, singleService } from "../../src/proxy/ingress/defaults.ts";
import { FlowLimiter } from "../../src/proxy/flow-limiter.ts";
import { literalTarget } from "../../src/proxy/literal-target.ts";
import { isVirtualDns, LocalResolvers } from "../../src/proxy/local-resolvers.ts";
import type { ProxyOptions } from "../../src/proxy/proxy.ts";
import type { Ingress, WarpRouting } from "../../src/types.ts";
import { FakeStream, tcpRequest } from "./fake-stream.ts";
import { Cleanup, Harness, ORIGIN_REQUEST, portOf } from "./harness.ts";
import { closedPort } from "../ports.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

function ingress(warpRouting: Partial<WarpRouting>): Ingress {
  return {
    ...singleService({ kind: "status", status: 503 }, ORIGIN_REQUEST),
    warpRouting: { ...defaultWarpRouting, ...warpRouting },
  };
}

function start(warpRouting: Partial<WarpRouting>, options: Partial<ProxyOptions> = {}): Harness {
  const more = { ingress: ingress(warpRouting), ...options };
  return cleanup.add(new Harness({ kind: "status", status: 503 }, {}, more), ({ proxy }) => proxy.close());
}

function open(harness: Harness, destination: string, connIndex = 0): FakeStream {
  const stream = new FakeStream();
  harness.proxy.handle(tcpRequest(stream, destination), connIndex);
  return stream;
}

const opened = (stream: FakeStream): Promise<FakeStream> =>
  stream.until(({ head, aborted }) => head !== undefined || aborted);

describe("the flow limit", () => {
  it("refuses streams beyond it, over all connections, and cuts none", async () => {
    const origin = await cleanup.raw((connection) => connection.socket.on("data", (chunk) => connection.write(chunk)));
    const destination = `127.0.0.1:${portOf(origin.server)}`;
    const harness = start({ maxActiveFlows: 2 });
    const first = open(harness, destination, 0);
    const second = open(harness, destination, 1);
    const third = open(harness, destination, 2);
    expect(third.head).toEqual({ status: 502, headers: [], contentLength: 0, source: "flow-limit" });
    expect(third.ended).toBe(true);
    const refused = await harness.outcome();
    expect(refused).toMatchObject({ class: "flow-limit", phase: "connect", status: 502 });
    expect(refused.error).toMatchObject({ code: "ERR_UNDERPASS_FLOW_LIMIT" });
    third.give("x");
    expect(third.credited).toBe(1);

    // A lower limit is for new ones.
    harness.proxy.update(ingress({ maxActiveFlows: 1 }));
    for (const stream of [first, second]) {
      await opened(stream);
      stream.give("still here");
      await stream.until(({ body }) => body.toString() === "still here");
    }
    expect(open(harness, destination).head?.source).toBe("flow-limit");
    first.cancel();
    expect(open(harness, destination).head?.source).toBe("flow-limit");
    second.cancel();
    const next = await opened(open(harness, destination));
    expect(next.head?.status).toBe(200);
    harness.proxy.update(ingress({ maxActiveFlows: 0 }));
    const many = await Promise.all(Array.from({ length: 20 }, () => opened(open(harness, destination))));
    expect(many.every(({ head }) => head?.status === 200)).toBe(true);
  });

  it("gives a place back however a stream ends", async () => {
    const origin = await cleanup.raw();
    const port = portOf(origin.server);
    const nothing = await closedPort();
    const harness = start({ maxActiveFlows: 1 });
    let connections = 0;
    const ends: Record<string, () => Promise<void>> = {
      refused: async () => {
        await opened(open(harness, `127.0.0.1:${nothing}`));
      },
      "no literal": async () => {
        await opened(open(harness, "localhost:1"));
      },
      cancelled: async () => {
        const stream = open(harness, `127.0.0.1:${port}`);
        await opened(stream);
        await origin.connection(connections++);
        stream.cancel();
      },
      "cancelled while it connects": async () => {
        open(harness, `127.0.0.1:${port}`).cancel("edge-lost");
        await Promise.resolve();
      },
      finished: async () => {
        const stream = await opened(open(harness, `127.0.0.1:${port}`));
        const connection = await origin.connection(origin.connections.length - 1);
        stream.giveEnd();
        connection.socket.end();
        await stream.done();
      },
      reset: async () => {
        const stream = await opened(open(harness, `127.0.0.1:${port}`));
        stream.give("!");
        const connection = await origin.connection(origin.connections.length - 1);
        connection.socket.resetAndDestroy();
        await stream.done();
      },
    };
    let count = 0;
    for (const [how, end] of Object.entries(ends)) {
      await end();
      const outcome = await harness.outcome(++count);
      expect(outcome.class, how).not.toBe("flow-limit");
      await vi.waitUntil(() => origin.connections.every(({ closed: gone, ended }) => gone || ended));
    }
  });

  it("counts each release once", () => {
    const limiter = new FlowLimiter();
    limiter.limit = 1;
    const release = limiter.acquire();
    expect(limiter.acquire()).toBeUndefined();
    release?.();
    release?.();
    expect(limiter.active).toBe(0);
    expect(limiter.acquire()).toBeDefined();
    expect(limiter.acquire()).toBeUndefined();
  });
});

describe("warpRouting.connectTimeout", () => {
  afterEach(() => vi.useRealTimers());

  it("ends an attempt that is not answered in time, and changes with the rules", async () => {
    const origin = await cleanup.raw();
    const destination = `127.0.0.1:${portOf(origin.server)}`;
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const harness = start({ connectTimeoutMs: 30 });
    for (const [index, milliseconds] of [30, 5_000].entries()) {
      if (index > 0) harness.proxy.update(ingress({ connectTimeoutMs: milliseconds }));
      const stream = open(harness, destination);
      // The kernel's answer waits for the next turn of the loop.
      vi.advanceTimersByTime(milliseconds - 1);
      expect(stream.aborted).toBe(false);
      vi.advanceTimersByTime(1);
      expect(stream.aborted).toBe(true);
      const outcome = await harness.outcome(index + 1);
      expect(outcome).toMatchObject({ class: "origin-timeout", phase: "connect" });
      expect(outcome.error?.message).toContain(`within ${milliseconds} ms`);
    }
  });
});

describe("a literal destination", () => {
  it("of IPv4 in IPv6 form is reached by IPv4", async () => {
    const origin = await cleanup.raw(({ socket }) => socket.end("hello"));
    const harness = start({});
    const stream = open(harness, `[::ffff:127.0.0.1]:${portOf(origin.server)}`);
    await stream.done();
    expect(stream.body.toString()).toBe("hello");
    expect(literalTarget("[::ffff:7f00:1]:80")?.address).toEqual({ kind: "tcp", host: "127.0.0.1", port: 80 });
  });

  it("of IPv6 needs no zone", () => {
    expect(literalTarget("[fe80::1]:80")).toMatchObject({
      address: { host: "fe80::1", port: 80 },
      where: "[fe80::1]:80",
    });
    expect(literalTarget("[fe80::1%eth0]:80")).toBeUndefined();
    expect(literalTarget("fe80::1:80")).toBeUndefined();
  });
});

describe("the virtual DNS address", () => {
  it("is answered by a resolver, however it is written", async () => {
    const resolver = cleanup.add(
      net.createServer((socket) => socket.on("data", (data) => socket.end(`answer to ${data.toString()}`))),
      (server) => server.close(),
    );
    resolver.listen(0, "127.0.0.1");
    await once(resolver, "listening");
    const harness = start({ maxActiveFlows: 1 }, { dnsResolvers: [`127.0.0.1:${portOf(resolver)}`] });
    for (const destination of ["[2606:4700:cf1:2000::1]:53", "[2606:4700:0cf1:2000:0:0:0:1]:53"]) {
      const stream = open(harness, destination);
      stream.give("query");
      await stream.until(({ ended }) => ended);
      expect(stream.body.toString()).toBe("answer to query");
      stream.giveEnd();
      await vi.waitUntil(() => harness.proxy.activeRequests === 0);
    }
    expect(harness.outcomes.map(({ class: outcome, host }) => [outcome, host])).toEqual([
      ["ok", "[2606:4700:cf1:2000::1]:53"],
      ["ok", "[2606:4700:0cf1:2000:0:0:0:1]:53"],
    ]);
  });

  it("is answered by the next resolver where one can't be reached", async () => {
    const resolver = await cleanup.raw(({ socket }) => socket.end("answer"));
    const nothing = await closedPort();
    const harness = start({}, { dnsResolvers: [`127.0.0.1:${nothing}`, `127.0.0.1:${portOf(resolver.server)}`] });
    // Either may come first.
    for (let i = 0; i < 16; i++) {
      const stream = await open(harness, "[2606:4700:cf1:2000::1]:53").done();
      expect(stream.body.toString()).toBe("answer");
      stream.cancel();
    }
    expect(harness.outcomes.every(({ status }) => status === 200)).toBe(true);
  });

  it("shares the time to connect out among its resolvers", async () => {
    const silent = [await cleanup.raw(), await cleanup.raw()];
    const harness = start({}, { dnsResolvers: silent.map(({ server }) => `127.0.0.1:${portOf(server)}`) });
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
    try {
      const stream = open(harness, "[2606:4700:cf1:2000::1]:53");
      // The kernel's answers wait for the next turn of the loop.
      vi.advanceTimersByTime(2_499);
      vi.advanceTimersByTime(1);
      vi.advanceTimersByTime(2_499);
      expect(stream.aborted).toBe(false);
      vi.advanceTimersByTime(1);
      expect(stream.aborted).toBe(true);
      expect((await harness.outcome()).error?.message).toMatch(/ within 2500 ms \(connectTimeout\)$/);
    } finally {
      vi.useRealTimers();
    }
  });

  it("is that address and that port alone", () => {
    const isVirtual = (destination: string): boolean => {
      const target = literalTarget(destination);
      return target !== undefined && isVirtualDns(target);
    };
    expect(isVirtual("[2606:4700:cf1:2000::1]:53")).toBe(true);
    expect(isVirtual("[2606:4700:cf1:2000::1]:54")).toBe(false);
    expect(isVirtual("[2606:4700:cf1:2000::2]:53")).toBe(false);
    expect(isVirtual("127.0.0.1:53")).toBe(false);
  });

  it("finds this machine's resolvers, and looks again after five minutes", () => {
    let servers: readonly string[] = [
      "192.0.2.53",
      "2001:db8::53",
      "192.0.2.54:5353",
      "[2001:db8::54]:5353",
      "fe80::1%eth0",
    ];
    let looked = 0;
    const resolvers = new LocalResolvers([], () => {
      looked++;
      return servers;
    });
    const found = (now: number): string[] => resolvers.targets(now).map(({ where }) => where);
    const first = ["192.0.2.53:53", "[2001:db8::53]:53", "192.0.2.54:5353", "[2001:db8::54]:5353"];
    expect(found(0)).toEqual(first);
    servers = ["198.51.100.1"];
    expect(found(299_999)).toEqual(first);
    expect(looked).toBe(1);
    expect(found(300_000)).toEqual(["198.51.100.1:53"]);
    // Offline for a moment: the last ones stay.
    servers = [];
    expect(found(700_000)).toEqual(["198.51.100.1:53"]);
    expect(new LocalResolvers([], () => []).targets(0).map(({ where }) => where)).toEqual(["127.0.0.1:53"]);
    expect(new LocalResolvers([]).targets(0).length).toBeGreaterThan(0);
  });

  it("may have fixed resolvers, each of which gets its share", () => {
    const fixed = ["192.0.2.1:53", "192.0.2.2:53", "[2001:db8::3]:53"];
    const resolvers = new LocalResolvers(fixed, () => {
      throw new Error("not asked");
    });
    const firsts = new Set(Array.from({ length: 200 }, (_, i) => resolvers.targets(i * 1e9)[0]?.where));
    expect(firsts).toEqual(new Set(fixed));
    for (const wrong of ["192.0.2.1", "resolver.example:53", "192.0.2.1:0"]) {
      expect(() => start({}, { dnsResolvers: [wrong] })).toThrow(
        expect.objectContaining({ code: "ERR_UNDERPASS_DNS_RESOLVER" }),
      );
    }
  });
});
