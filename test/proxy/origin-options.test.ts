/**
 * Every option of HTTP origins on real sockets: what it does where nobody sets it, where the top level does, and where a rule says
 * otherwise. The rules are read as those of a file are.
 */
import { readFileSync } from "node:fs";
import https from "node:https";
import type net from "node:net";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { type Certificate, selfSigned } from "./certificates.ts";
import { FakeStream, fieldsOf, httpRequest } from "./fake-stream.ts";
import { Cleanup, type Harness, listen, portOf, type RawConnection, type RawOrigin } from "./harness.ts";
import { http2Origin } from "./http2/origin.ts";
import { type Level, levels as levelsOf, start as startRules } from "./levels.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());
afterEach(() => vi.useRealTimers());

let certificate: Certificate;
beforeAll(() => {
  certificate = selfSigned("DNS:origin.test,DNS:localhost,IP:127.0.0.1");
});

const start = (source: unknown): Harness => startRules(cleanup, source, { readFile: () => certificate.cert });
const levels = <T>(
  service: string,
  key: string,
  values: readonly [unknown, unknown],
  observe: (level: Level) => Promise<T>,
  others: object = {},
): Promise<T[]> => levelsOf(start, service, key, values, observe, others);

function send({ harness, authority }: Level, more: Parameters<typeof httpRequest>[1] = {}): FakeStream {
  const stream = new FakeStream({ bodyless: true });
  harness.proxy.handle(httpRequest(stream, { authority, ...more }), 0);
  return stream;
}

async function answer(level: Level, more: Parameters<typeof httpRequest>[1] = {}): Promise<string> {
  const stream = await send(level, more).done();
  return stream.aborted ? "502" : stream.body.toString();
}

async function describing(): Promise<string> {
  const origin = await cleanup.http(({ headers, url }, response) => {
    response.setHeader("x-of-origin", "kept");
    response.end(JSON.stringify({ url, headers }));
  });
  return `http://127.0.0.1:${portOf(origin)}`;
}

async function tlsOrigin(): Promise<{ server: https.Server; connections: net.Socket[] }> {
  const connections: net.Socket[] = [];
  const server = https.createServer(certificate, ({ socket }, response) => {
    response.end("servername" in socket ? String(socket.servername) : "");
  });
  server.on("secureConnection", (socket) => connections.push(socket));
  server.on("tlsClientError", () => {});
  cleanup.add(await listen(server), (each) => {
    each.closeAllConnections();
    each.close();
  });
  return { server, connections };
}

describe("limits of time", () => {
  const DAY = 24 * 60 * 60_000;
  const HEAD = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome";

  /** After which the request fails, once `begun`; 0 = never. */
  async function limit(level: Level, option: string, begun: (stream: FakeStream) => Promise<unknown>): Promise<number> {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const { harness } = level;
    const before = harness.outcomes.length;
    const stream = send(level);
    await begun(stream);
    vi.advanceTimersByTime(DAY);
    const outcome = harness.outcomes[before];
    vi.useRealTimers();
    if (outcome === undefined) {
      stream.cancel();
      return 0;
    }
    expect(outcome.class).toBe("origin-timeout");
    expect(outcome.error?.message).toContain(`(${option})`);
    return Number(/(\d+) ms/.exec(outcome.error?.message ?? "")?.[1]);
  }

  /** The last connection's request has come. */
  const received = (origin: RawOrigin): (() => Promise<unknown>) => {
    let count = 0;
    return async () => (await origin.connection(count++)).until((connection) => connection.received !== "");
  };

  it("connectTimeout: 30 s", async () => {
    const origin = await cleanup.raw();
    // The kernel's answer waits for the next turn of the loop.
    const observe = (level: Level): Promise<number> => limit(level, "connectTimeout", () => Promise.resolve());
    const service = `http://127.0.0.1:${portOf(origin.server)}`;
    expect(await levels(service, "connectTimeout", ["50ms", 2], observe)).toEqual([30_000, 50, 2_000]);
    const never = start({ ingress: [{ service, originRequest: { connectTimeout: 0 } }] });
    expect(await observe({ harness: never, authority: "a" })).toBe(0);
  });

  it("tlsTimeout: 10 s", async () => {
    const origin = await cleanup.raw();
    const begun = received(origin);
    const observe = (level: Level): Promise<number> => limit(level, "tlsTimeout", begun);
    const service = `https://127.0.0.1:${portOf(origin.server)}`;
    expect(await levels(service, "tlsTimeout", ["1m", 0.5], observe)).toEqual([10_000, 60_000, 500]);
    const never = start({ ingress: [{ service, originRequest: { tlsTimeout: "0s" } }] });
    expect(await observe({ harness: never, authority: "a" })).toBe(0);
  });

  it("responseHeaderTimeout: none", async () => {
    const origin = await cleanup.raw();
    const begun = received(origin);
    const observe = (level: Level): Promise<number> => limit(level, "responseHeaderTimeout", begun);
    const service = `http://127.0.0.1:${portOf(origin.server)}`;
    expect(await levels(service, "responseHeaderTimeout", ["100s", 5], observe)).toEqual([0, 100_000, 5_000]);
  });

  it("idleTimeout: none", async () => {
    const origin = await cleanup.raw((connection) => void connection.head().then(() => connection.write(HEAD)));
    const begun = (stream: FakeStream): Promise<unknown> => stream.until(({ body }) => body.length === 4);
    const observe = (level: Level): Promise<number> => limit(level, "idleTimeout", begun);
    const service = `http://127.0.0.1:${portOf(origin.server)}`;
    expect(await levels(service, "idleTimeout", [30, "1h"], observe)).toEqual([0, 30_000, 3_600_000]);
  });

  it("do not end an answer that goes on, nor a body that takes its time", async () => {
    const origin = await cleanup.raw();
    const [service, originRequest] = [
      `http://127.0.0.1:${portOf(origin.server)}`,
      { idleTimeout: 5, responseHeaderTimeout: 5 },
    ];
    const harness = start({ ingress: [{ service, originRequest }] });
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method: "POST", contentLength: 2 }), 0);
    const connection = await origin.connection();
    await connection.head();
    for (const byte of ["a", "b"]) {
      vi.advanceTimersByTime(20_000);
      stream.give(byte);
    }
    stream.giveEnd();
    await connection.until((each) => each.received.endsWith("\r\n\r\nab"));
    vi.advanceTimersByTime(4_999);
    connection.write(HEAD);
    await stream.until(({ body }) => body.length === 4);
    for (const byte of "thing") {
      vi.advanceTimersByTime(4_999);
      const { length } = stream.body;
      connection.write(byte);
      await stream.until(({ body }) => body.length > length);
    }
    expect(stream.body.toString()).toBe("something");
    expect(await harness.outcome()).toMatchObject({ class: "ok" });
  });
});

describe.runIf(process.platform === "linux")("tcpKeepAlive: 30 s", () => {
  /** Seconds to the next probe, as the kernel says; undefined = it sends none. */
  function probeIn(local: number, remote: number): number | undefined | "busy" {
    const port = (field: string | undefined): number => Number.parseInt(field?.split(":")[1] ?? "", 16);
    for (const line of readFileSync("/proc/net/tcp", "utf8").split("\n")) {
      const fields = line.trim().split(/\s+/);
      if (port(fields[1]) !== local || port(fields[2]) !== remote) continue;
      const [timer, when] = fields[5]?.split(":") ?? [];
      if (timer === "00") return undefined;
      return timer === "02" ? Math.ceil(Number.parseInt(when ?? "", 16) / 100) : "busy";
    }
    return "busy";
  }

  it("is the period that the kernel probes by", async () => {
    const origin = await cleanup.raw();
    let count = 0;
    const observe = async (level: Level): Promise<number | undefined> => {
      const stream = send(level);
      const connection = await origin.connection(count++);
      await connection.head();
      const seen = (): ReturnType<typeof probeIn> => probeIn(connection.socket.remotePort ?? 0, portOf(origin.server));
      await vi.waitUntil(() => seen() !== "busy", { timeout: 5_000, interval: 20 });
      const seconds = seen();
      stream.cancel();
      return seconds === "busy" ? undefined : seconds;
    };
    const service = `http://127.0.0.1:${portOf(origin.server)}`;
    const seconds = await levels(service, "tcpKeepAlive", ["1m", -1], observe);
    // A busy machine may look a little later.
    expect(seconds.map((each) => each && Math.ceil(each / 5) * 5)).toEqual([30, 60, undefined]);
    const usual = start({ ingress: [{ service, originRequest: { tcpKeepAlive: 0 } }] });
    expect(Math.ceil(((await observe({ harness: usual, authority: "a" })) ?? 0) / 5) * 5).toBe(15);
  });
});

describe("idle connections", () => {
  const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

  it("keepAliveConnections: 100", async () => {
    const origin = await cleanup.raw();
    let first = 0;
    const kept = async (level: Level): Promise<number> => {
      const streams = Array.from({ length: 4 }, () => send(level));
      const connections: RawConnection[] = [];
      for (let at = 0; at < 4; at++) connections.push(await origin.connection(first + at));
      for (const connection of connections) {
        await connection.head();
        connection.write(OK);
      }
      await Promise.all(streams.map((stream) => stream.done()));
      // Those that are not kept are closed before the answer's end is known here.
      const second = connections.map((connection) => Promise.race([gone(connection), used(connection)]));
      const again = Array.from({ length: 4 }, () => send(level));
      const results = await Promise.all(second);
      const count = results.filter((result) => result === "used").length;
      first += 8 - count;
      // The others have a new connection each.
      await origin.connection(first - 1);
      for (const stream of again) stream.cancel();
      return count;
    };
    const gone = (connection: RawConnection): Promise<string> =>
      connection.until(({ ended, closed }) => ended || closed).then(() => "gone");
    const used = (connection: RawConnection): Promise<string> =>
      connection.until((each) => each.received.split("GET ").length === 3).then(() => "used");
    const service = `http://127.0.0.1:${portOf(origin.server)}`;
    expect(await levels(service, "keepAliveConnections", [1, 0], kept)).toEqual([4, 1, 2]);
    const none = start({ ingress: [{ service, originRequest: { keepAliveConnections: -1 } }] });
    expect(await kept({ harness: none, authority: "a" })).toBe(0);
  });

  it("keepAliveTimeout: 90 s", async () => {
    const origin = await cleanup.raw((connection) => connection.socket.on("data", () => connection.write(OK)));
    const service = `http://127.0.0.1:${portOf(origin.server)}`;
    const seconds = async (level: Level): Promise<number> => {
      vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
      expect(await answer(level)).toBe("ok");
      let passed = 0;
      // While a connection is idle, and will not be for ever, a timer runs.
      for (; vi.getTimerCount() > 0; passed++) vi.advanceTimersByTime(1_000);
      vi.useRealTimers();
      return passed;
    };
    expect(await levels(service, "keepAliveTimeout", ["5s", 0], seconds)).toEqual([90, 5, 0]);
    for (const index of [0, 1]) await (await origin.connection(index)).until(({ ended, closed }) => ended || closed);
    expect((await origin.connection(2)).ended).toBe(false);
  });
});

describe("what the origin is told", () => {
  it("httpHostHeader: the visitor's", async () => {
    const hosts = async (level: Level): Promise<unknown> => {
      const { headers } = JSON.parse(await answer(level, { headers: fieldsOf({ "x-forwarded-host": "forged" }) })) as {
        headers: Record<string, string>;
      };
      return [headers["host"], headers["x-forwarded-host"]];
    };
    expect(await levels(await describing(), "httpHostHeader", ["in.example:81", ""], hosts)).toEqual([
      ["any.example", "forged"],
      ["in.example:81", "any.example"],
      ["own.example", "forged"],
    ]);
  });

  it("stripPrefix, addPrefix: none", async () => {
    const service = await describing();
    const url = async (level: Level): Promise<unknown> =>
      (JSON.parse(await answer(level, { path: "/api/v%31?q=/api" })) as { url: string }).url;
    expect(await levels(service, "stripPrefix", ["/api/", "/ap"], url)).toEqual([
      "/api/v%31?q=/api",
      "/v%31?q=/api",
      "/api/v%31?q=/api",
    ]);
    expect(await levels(service, "addPrefix", ["/in", ""], url, { stripPrefix: "/api" })).toEqual([
      "/v%31?q=/api",
      "/in/v%31?q=/api",
      "/v%31?q=/api",
    ]);
  });

  it("requestHeaders: as they came", async () => {
    const headers = fieldsOf({ "x-gone": "1", "X-Gone": "2", "x-set": "visitor", "x-other": "stays" });
    const seen = async (level: Level): Promise<unknown> => {
      const found = (JSON.parse(await answer(level, { headers })) as { headers: Record<string, string> }).headers;
      return [found["x-gone"], found["x-set"], found["x-other"], found["cf-warp-tag-id"] === undefined];
    };
    const edits = { remove: ["X-Gone", "Cf-Warp-Tag-Id"], set: { "X-Set": "rule" } };
    expect(await levels(await describing(), "requestHeaders", [edits, {}], seen)).toEqual([
      ["1, 2", "visitor", "stays", false],
      [undefined, "rule", "stays", true],
      ["1, 2", "visitor", "stays", false],
    ]);
  });

  it("responseHeaders: as they came", async () => {
    const seen = async (level: Level): Promise<unknown> => {
      const stream = await send(level).done();
      return [stream.header("x-of-origin"), stream.header("x-set"), stream.header("date") !== undefined];
    };
    const edits = { remove: ["x-of-origin"], set: { "X-Set": "rule" } };
    expect(await levels(await describing(), "responseHeaders", [edits, { set: { "x-set": "own" } }], seen)).toEqual([
      ["kept", undefined, true],
      [undefined, "rule", true],
      ["kept", "own", true],
    ]);
  });

  it("disableChunkedEncoding: false", async () => {
    const framing = async ({ harness, authority }: Level): Promise<unknown> => {
      const stream = new FakeStream();
      harness.proxy.handle(httpRequest(stream, { authority, method: "POST" }), 0);
      stream.give("hello");
      stream.giveEnd();
      const { headers } = JSON.parse((await stream.done()).body.toString()) as { headers: Record<string, string> };
      return headers["transfer-encoding"] ?? headers["content-length"];
    };
    expect(await levels(await describing(), "disableChunkedEncoding", [true, false], framing)).toEqual([
      "chunked",
      "5",
      "chunked",
    ]);
  });
});

describe("TLS", () => {
  const unverified = { noTLSVerify: true };

  it("originServerName: the service's host", async () => {
    const { server } = await tlsOrigin();
    const service = `https://localhost:${portOf(server)}`;
    expect(await levels(service, "originServerName", ["a.test", "b.test"], answer, unverified)).toEqual([
      "localhost",
      "a.test",
      "b.test",
    ]);
  });

  it("matchSNItoHost: false", async () => {
    const { server } = await tlsOrigin();
    const service = `https://localhost:${portOf(server)}`;
    expect(await levels(service, "matchSNItoHost", [true, false], answer, unverified)).toEqual([
      "localhost",
      "any.example",
      "localhost",
    ]);
    const both = start({
      ingress: [{ service, originRequest: { ...unverified, matchSNItoHost: true, httpHostHeader: "in.test:81" } }],
    });
    expect(await answer({ harness: both, authority: "any.example" })).toBe("in.test");
  });

  it("matchSNItoHost: each name has connections of its own, and its own certificate", async () => {
    const { server, connections } = await tlsOrigin();
    const options = { matchSNItoHost: true, caPool: "ca.pem" };
    const harness = start({ ingress: [{ service: `https://127.0.0.1:${portOf(server)}`, originRequest: options }] });
    const ask = (authority: string): Promise<string> => answer({ harness, authority });
    expect([await ask("origin.test"), await ask("localhost:8443"), await ask("other.test")]).toEqual([
      "origin.test",
      "localhost",
      "502",
    ]);
    expect(await harness.outcome(3)).toMatchObject({ class: "origin-tls", phase: "tls" });
    // Neither a pooled connection nor a resumed session lets a name pass that the certificate has not.
    expect([await ask("other.test"), await ask("ORIGIN.test."), await ask("localhost")]).toEqual([
      "502",
      "origin.test",
      "localhost",
    ]);
    expect(connections.filter(({ destroyed }) => !destroyed)).toHaveLength(2);
  });

  it("caPool: none", async () => {
    const { server } = await tlsOrigin();
    const service = `https://127.0.0.1:${portOf(server)}`;
    expect(await levels(service, "caPool", ["ca.pem", ""], answer)).toEqual(["502", "false", "502"]);
  });

  it("noTLSVerify: false", async () => {
    const { server } = await tlsOrigin();
    const service = `https://127.0.0.1:${portOf(server)}`;
    expect(await levels(service, "noTLSVerify", [true, false], answer)).toEqual(["502", "false", "502"]);
  });

  it("http2Origin: false", async () => {
    const { server } = await http2Origin(cleanup, () => {}, certificate);
    server.on("request", (request: { httpVersion: string }, response: { end(text: string): void }) =>
      response.end(request.httpVersion),
    );
    const service = `https://localhost:${portOf(server)}`;
    expect(await levels(service, "http2Origin", [true, false], answer, unverified)).toEqual(["1.1", "2.0", "1.1"]);
  });
});
