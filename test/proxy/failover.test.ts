/** Several origins for one rule. */
import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { OriginRequestOptions, WireOrigin } from "../../src/types.ts";
import { FakeStream, httpRequest, webSocketRequest } from "./fake-stream.ts";
import { Cleanup, Harness, portOrigin, type RawOrigin, urlOrigin } from "./harness.ts";
import { freePort } from "../ports.ts";
import { http2Origin } from "./http2/origin.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

/** A port on which nothing listens, until `open`. */
class Origin {
  readonly name: string;
  readonly port: number;
  #server: http.Server | undefined;
  requests = 0;

  private constructor(name: string, port: number) {
    this.name = name;
    this.port = port;
    cleanup.add(this, () => this.close());
  }

  static async create(name: string): Promise<Origin> {
    return new Origin(name, await freePort());
  }

  async open(): Promise<this> {
    const server = http.createServer((request, response) => {
      this.requests++;
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("end", () => response.end(`${this.name}${body}`));
    });
    this.#server = server;
    server.listen(this.port, "127.0.0.1");
    await once(server, "listening");
    return this;
  }

  async close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined) return;
    server.close();
    server.closeAllConnections();
    await once(server, "close");
  }
}

function failover(origins: readonly (Origin | WireOrigin)[], options: Partial<OriginRequestOptions> = {}): Harness {
  const urls = origins.map((origin) => (origin instanceof Origin ? portOrigin(origin.port) : origin));
  return cleanup.add(new Harness({ kind: "failover", origins: urls }, options), ({ proxy }) => proxy.close());
}

async function ask(harness: Harness, body?: string): Promise<string> {
  const stream = new FakeStream({ bodyless: body === undefined });
  harness.proxy.handle(httpRequest(stream, { method: body === undefined ? "GET" : "POST" }), 0);
  if (body !== undefined) {
    stream.give(body);
    stream.giveEnd();
  }
  await stream.done();
  expect(stream.credited).toBe(stream.given);
  return stream.aborted ? "502" : stream.body.toString();
}

describe("several origins", () => {
  it("serve in their order, the first that works", async () => {
    const [a, b] = [await (await Origin.create("a")).open(), await (await Origin.create("b")).open()];
    const harness = failover([a, b]);
    expect([await ask(harness), await ask(harness, "!")]).toEqual(["a", "a!"]);
    expect(b.requests).toBe(0);
    expect(harness.logs.filter(({ level }) => level !== "debug")).toEqual([]);
  });

  it("take over from one that can't be reached, bodies included, and say so once", async () => {
    const [a, b] = [await Origin.create("a"), await (await Origin.create("b")).open()];
    const harness = failover([a, b]);
    expect([await ask(harness, "one"), await ask(harness), await ask(harness, "two")]).toEqual(["bone", "b", "btwo"]);
    expect(harness.outcomes.map((outcome) => outcome.class)).toEqual(["ok", "ok", "ok"]);
    const warnings = harness.logs.filter(({ level }) => level === "warn");
    expect(warnings.map(({ message, fields }) => [message, fields["originService"], fields["code"]])).toEqual([
      ["Origin can't be reached, and is passed over", `http://127.0.0.1:${a.port}`, "ERR_UNDERPASS_ORIGIN_REFUSED"],
    ]);
  });

  it("leave the lost one alone for a time that doubles, and go back to it when it works again", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    const a = await Origin.create("a");
    let attempts = 0;
    const b = await (await Origin.create("b")).open();
    const harness = failover([a, b]);
    const { prototype } = net.Socket;
    const connect: unknown = Reflect.get(prototype, "connect");
    vi.spyOn(prototype, "connect").mockImplementation(function (this: net.Socket, ...args: unknown[]) {
      const [options] = args;
      if (typeof options === "object" && options !== null && "port" in options && options.port === a.port) attempts++;
      return Reflect.apply(connect as typeof prototype.connect, this, args);
    });
    const tries = async (): Promise<boolean> => {
      const before = attempts;
      expect(await ask(harness)).toBe("b");
      return attempts > before;
    };
    expect(await tries()).toBe(true);
    for (const pause of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
      vi.advanceTimersByTime(pause - 1);
      expect(await tries()).toBe(false);
      vi.advanceTimersByTime(1);
      expect(await tries()).toBe(true);
    }
    await a.open();
    expect(await ask(harness)).toBe("b");
    vi.advanceTimersByTime(30_000);
    expect([await ask(harness), await ask(harness)]).toEqual(["a", "a"]);
    expect(harness.logs.filter(({ level }) => level === "info").map(({ message }) => message)).toEqual([
      "Origin can be reached again",
    ]);
  });

  it("that are all down fail like one: the first is tried each time, so that it can come back", async () => {
    const [a, b] = [await Origin.create("a"), await Origin.create("b")];
    const harness = failover([a, b]);
    expect([await ask(harness), await ask(harness, "body")]).toEqual(["502", "502"]);
    expect(harness.outcomes).toMatchObject(
      Array.from({ length: 2 }, () => ({ class: "origin-refused", phase: "connect", status: 502 })),
    );
    await a.open();
    expect(await ask(harness, "!")).toBe("a!");
  });

  it("that are all left out are all tried, in their order", async () => {
    const [a, b, c] = [await Origin.create("a"), await Origin.create("b"), await Origin.create("c")];
    const harness = failover([a, b, c]);
    expect([await ask(harness), await ask(harness)]).toEqual(["502", "502"]);
    await c.open();
    expect([await ask(harness, "!"), await ask(harness)]).toEqual(["c!", "c"]);
    await c.close();
    await b.open();
    expect(await ask(harness)).toBe("b");
  });

  describe("of which one takes connections and says nothing", () => {
    /** Breaks off the first handshake; the others hang. */
    async function hanging(): Promise<RawOrigin> {
      vi.useFakeTimers({ toFake: ["performance"] });
      const origin: RawOrigin = await cleanup.raw(({ socket }) => {
        if (origin.connections.length === 1) socket.resetAndDestroy();
      });
      return origin;
    }

    function begin(harness: Harness): FakeStream {
      const stream = new FakeStream({ bodyless: true });
      harness.proxy.handle(httpRequest(stream), 0);
      return stream;
    }

    it("wait for its trial with one request, however long it takes, and try again when that one left", async () => {
      const a = await hanging();
      const b = await (await Origin.create("b")).open();
      const harness = failover([urlOrigin(a.server, "https"), b]);
      expect(await ask(harness)).toBe("b");
      vi.advanceTimersByTime(1_000);
      const trial = begin(harness);
      await vi.waitUntil(() => a.connections.length === 2);
      for (const ms of [999, 1, 1_000, 60_000]) {
        vi.advanceTimersByTime(ms);
        expect(await ask(harness)).toBe("b");
      }
      expect(a.connections).toHaveLength(2);
      trial.cancel();
      const next = begin(harness);
      await vi.waitUntil(() => a.connections.length === 3);
      next.cancel();
      // Who left has found out nothing: the pause is what it was, not none.
      expect(await ask(harness)).toBe("b");
      expect(a.connections).toHaveLength(3);
    });

    it("serve by the others, though all are left out", async () => {
      const a = await hanging();
      const b = await Origin.create("b");
      const harness = failover([urlOrigin(a.server, "https"), b]);
      expect(await ask(harness)).toBe("502");
      const trial = begin(harness);
      await vi.waitUntil(() => a.connections.length === 2);
      await b.open();
      expect(await ask(harness)).toBe("b");
      expect(a.connections).toHaveLength(2);
      trial.cancel();
    });
  });

  it("work as soon as one answers over a connection that was still open", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    const first = await cleanup.raw((connection) => {
      connection.socket.on("data", () => connection.write("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"));
      first.server.close();
    });
    const b = await (await Origin.create("b")).open();
    const harness = failover([urlOrigin(first.server), b]);
    expect(await ask(harness)).toBe("a");
    // The connection is taken: the other request needs one more, which there is not.
    const [one, two] = [ask(harness), ask(harness)];
    expect([await one, await two].sort()).toEqual(["a", "b"]);
    expect(harness.logs.filter(({ level }) => level === "warn")).toHaveLength(1);
    vi.advanceTimersByTime(1_000);
    expect([await ask(harness), await ask(harness)]).toEqual(["a", "a"]);
  });

  it("are not asked again once one may have got something of the request", async () => {
    const breaking = await cleanup.raw((connection) => {
      connection.socket.once("data", () => connection.socket.resetAndDestroy());
    });
    const b = await (await Origin.create("b")).open();
    const harness = failover([urlOrigin(breaking.server), b]);
    expect([await ask(harness), await ask(harness, "body")]).toEqual(["502", "502"]);
    expect(harness.outcomes).toMatchObject(Array.from({ length: 2 }, () => ({ class: "origin-reset" })));
    expect(b.requests).toBe(0);
  });

  it("take over when a pooled connection is dead and no other can be opened", async () => {
    const b = await (await Origin.create("b")).open();
    const first = await cleanup.raw((connection) => {
      let requests = 0;
      connection.socket.on("data", () => {
        requests++;
        if (requests === 1) {
          connection.write("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na");
          first.server.close();
        } else {
          connection.socket.resetAndDestroy();
        }
      });
    });
    const harness = failover([urlOrigin(first.server), b]);
    expect([await ask(harness), await ask(harness)]).toEqual(["a", "b"]);
  });

  it("take over for one that does not take the connection in time, and for one whose TLS fails", async () => {
    const silent = await cleanup.raw();
    const plain = await cleanup.raw(({ socket }) => socket.end("not TLS"));
    const b = await (await Origin.create("b")).open();
    const origins = [urlOrigin(silent.server, "https"), urlOrigin(plain.server, "https"), b];
    const harness = failover(origins, { tlsTimeoutMs: 50 });
    expect(await ask(harness, "!")).toBe("b!");
    expect(harness.logs.filter(({ level }) => level === "warn").map(({ fields }) => fields["code"])).toEqual([
      "ERR_UNDERPASS_ORIGIN_TIMEOUT",
      "ERR_UNDERPASS_ORIGIN_TLS",
    ]);
  });

  it("take over for one that can't even be dialled", async () => {
    vi.stubEnv("HTTPS_PROXY", "socks5://127.0.0.1:1");
    const b = await (await Origin.create("b")).open();
    const away: WireOrigin = { kind: "url", url: new URL("https://app.test") };
    for (const http2Origin of [false, true]) {
      const harness = failover([away, b], { http2Origin });
      expect([await ask(harness), await ask(harness, "!")]).toEqual(["b", "b!"]);
      const alone = failover([away, away], { http2Origin });
      expect(await ask(alone, "!")).toBe("502");
      expect(alone.outcomes).toMatchObject([{ class: "origin-refused", phase: "connect" }]);
      expect(alone.outcomes[0]?.error?.message).toMatch(/socks5:/);
      await alone.proxy.close();
    }
  });

  it("may be Unix sockets, and speak HTTP/2", async () => {
    const { server } = await http2Origin(cleanup, (stream) => {
      stream.respond({ ":status": 200 });
      stream.pipe(stream);
    });
    const a = await Origin.create("a");
    const harness = failover([
      { kind: "unix", path: "/nonexistent/app.sock", tls: false },
      portOrigin(a.port, "h2c"),
      urlOrigin(server, "h2c"),
    ]);
    expect([await ask(harness, "over HTTP/2"), await ask(harness, "again")]).toEqual(["over HTTP/2", "again"]);
    expect(harness.logs.filter(({ level }) => level === "warn")).toHaveLength(2);
  });

  it("take over WebSockets, and cancelled requests leave nothing behind", async () => {
    const a = await Origin.create("a");
    const upgrading = await cleanup.raw((connection) => {
      void connection.head().then(() => connection.write("HTTP/1.1 101 Switching Protocols\r\n\r\n"));
    });
    const harness = failover([a, urlOrigin(upgrading.server)]);
    const stream = new FakeStream();
    harness.proxy.handle(webSocketRequest(stream), 0);
    stream.give("early");
    await stream.until(({ head }) => head?.status === 101);
    await (await upgrading.connection()).until(({ received }) => received.endsWith("early"));
    stream.cancel();
    const silent = await cleanup.raw();
    const waiting = failover([urlOrigin(silent.server, "https"), a]);
    const cancelled = new FakeStream();
    waiting.proxy.handle(httpRequest(cancelled, { method: "POST" }), 0);
    cancelled.give("body");
    const connection = await silent.connection();
    cancelled.cancel();
    await connection.until(({ closed, ended }) => closed || ended);
    expect(await waiting.outcome()).toMatchObject({ class: "client-abort", phase: "connect" });
    expect(cancelled.credited).toBe(cancelled.given);
  });
});
