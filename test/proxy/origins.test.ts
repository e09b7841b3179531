/** The kinds of origins beside plain TCP: Unix sockets, TLS, fixed statuses; and what a proxy answers on its own. */
import { execFileSync, spawn } from "node:child_process";
import dns from "node:dns";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import { tmpdir } from "node:os";
import tls from "node:tls";
import path from "node:path";
import { once } from "node:events";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { parseIngress } from "../../src/proxy/ingress/parse.ts";
import { FakeStream, httpRequest, webSocketRequest } from "./fake-stream.ts";
import { Cleanup, type Harness, listen, portOf, portOrigin, urlOrigin } from "./harness.ts";

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

let directory = "";
let key = "";
let cert = "";
beforeAll(() => {
  directory = mkdtempSync(path.join(tmpdir(), "underpass-origins-"));
  const [keyFile, certFile] = [path.join(directory, "key.pem"), path.join(directory, "cert.pem")];
  const request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=origin.test".split(
    " ",
  );
  const names = ["-addext", "subjectAltName=DNS:origin.test,IP:127.0.0.1"];
  execFileSync("openssl", [...request, ...names, "-keyout", keyFile, "-out", certFile], { stdio: "ignore" });
  key = readFileSync(keyFile, "utf8");
  cert = readFileSync(certFile, "utf8");
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function get(harness: Harness, path_ = "/"): Promise<FakeStream> {
  const stream = new FakeStream({ bodyless: true });
  harness.proxy.handle(httpRequest(stream, { path: path_ }), 0);
  return stream.done();
}

async function tlsOrigin(): Promise<https.Server> {
  const server = https.createServer({ key, cert }, (request, response) => {
    const name = "servername" in request.socket ? String(request.socket.servername) : "";
    response.end(`${request.url} ${name}`);
  });
  return cleanup.add(await listen(server), (each) => {
    each.closeAllConnections();
    each.close();
  });
}

describe("an origin with TLS", () => {
  it("is trusted through caPool, by its address", async () => {
    const origin = await tlsOrigin();
    const harness = cleanup.harness(urlOrigin(origin, "https"), { caPool: cert });
    const first = await get(harness, "/one");
    // No literal address in SNI (RFC 6066 § 3).
    expect(first.body.toString()).toBe("/one false");
    const second = await get(harness, "/two");
    expect(second.body.toString()).toBe("/two false");
  });

  it("is expected to have originServerName, and told it", async () => {
    const origin = await tlsOrigin();
    const harness = cleanup.harness(urlOrigin(origin, "wss"), { caPool: cert, originServerName: "origin.test" });
    expect((await get(harness)).body.toString()).toBe("/ origin.test");
  });

  it("is trusted through the roots that the caller names", async () => {
    const origin = await tlsOrigin();
    let asked = 0;
    const originRoots = (): string[] => {
      asked++;
      return [cert];
    };
    const harness = cleanup.harness(urlOrigin(origin, "https"), {}, { originRoots });
    expect(asked).toBe(0);
    expect((await get(harness)).head?.status).toBe(200);
    expect(asked).toBe(1);
  });

  const REFUSALS = [
    { name: "an unknown issuer", options: () => ({}) },
    { name: "another name", options: () => ({ caPool: cert, originServerName: "other.test" }) },
    {
      name: "a caPool that is none",
      options: () => ({ caPool: "-----BEGIN CERTIFICATE-----\nnot base64\n-----END CERTIFICATE-----" }),
    },
  ];
  for (const { name, options } of REFUSALS) {
    it(`is refused for ${name}`, async () => {
      const origin = await tlsOrigin();
      const harness = cleanup.harness(urlOrigin(origin, "https"), options());
      expect((await get(harness)).aborted).toBe(true);
      expect(await harness.outcome()).toMatchObject({ class: "origin-tls", phase: "tls", status: 502 });
      expect(harness.outcomes[0]?.error?.message).toMatch(/caPool/);
      await harness.proxy.close();
    });
  }

  it("is taken as it is with noTLSVerify", async () => {
    const origin = await tlsOrigin();
    const harness = cleanup.harness(urlOrigin(origin, "https"), { noTLSVerify: true, originServerName: "other.test" });
    expect((await get(harness)).head?.status).toBe(200);
  });

  it("carries large bodies both ways and keeps its connection", async () => {
    const sockets = new Set<unknown>();
    const server = https.createServer({ key, cert }, (request, response) => {
      sockets.add(request.socket);
      request.pipe(response);
    });
    const origin = cleanup.add(await listen(server), (each) => {
      each.closeAllConnections();
      each.close();
    });
    const harness = cleanup.harness(urlOrigin(origin, "https"), { caPool: cert });
    for (let i = 0; i < 2; i++) {
      const body = Buffer.alloc(700_000, `block ${i} `);
      const stream = new FakeStream({ window: 65_536 });
      harness.proxy.handle(httpRequest(stream, { method: "POST", contentLength: body.length }), 0);
      for (let at = 0; at < body.length; at += 16_384) stream.give(body.subarray(at, at + 16_384));
      stream.giveEnd();
      while (!stream.ended) {
        await stream.until(({ blocked, ended }) => blocked || ended);
        stream.drain();
      }
      expect(stream.body.equals(body)).toBe(true);
    }
    expect(sockets.size).toBe(1);
  });

  it("carries a WebSocket of which each side ends on its own", async () => {
    const server = tls.createServer({ key, cert, allowHalfOpen: true }, (socket) => {
      socket.on("error", () => {});
      let received = "";
      socket.on("data", (chunk) => {
        if (received === "") socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nglued");
        received += chunk.toString("latin1");
      });
      socket.on("end", () => socket.end(`after ${received.slice(-5)}`));
    });
    const origin = cleanup.add(await listen(server), (each) => each.close());
    const harness = cleanup.harness(urlOrigin(origin, "wss"), { caPool: cert });
    const stream = new FakeStream();
    harness.proxy.handle(webSocketRequest(stream), 0);
    await stream.until(({ body }) => body.toString() === "glued");
    stream.give("12345");
    stream.giveEnd();
    await stream.done();
    expect(stream.body.toString()).toBe("gluedafter 12345");
    expect(await harness.outcome()).toMatchObject({ class: "ok", kind: "websocket" });
    await harness.proxy.close();
  });

  it("is reached by a name of which one address refuses", async () => {
    const origin = await tlsOrigin();
    const harness = cleanup.harness(urlOrigin(origin, "https", "localhost"), { noTLSVerify: true });
    expect((await get(harness)).body.toString()).toBe("/ localhost");
  });

  it("that speaks plain HTTP is named as such", async () => {
    const origin = await cleanup.http((_, response) => response.end());
    const harness = cleanup.harness(urlOrigin(origin, "https"));
    await get(harness);
    expect(await harness.outcome()).toMatchObject({ class: "origin-tls", phase: "tls" });
    expect(harness.outcomes[0]?.error?.message).toMatch(/http:\/\//);
  });

  it("and plain http:// in the configuration is named as such", async () => {
    const origin = await tlsOrigin();
    const harness = cleanup.harness(urlOrigin(origin, "http"));
    await get(harness);
    const { class: outcome, error } = await harness.outcome();
    expect(["origin-protocol", "origin-reset"]).toContain(outcome);
    expect(error?.message).toMatch(
      outcome === "origin-protocol" ? /https:\/\// : /speaks TLS does where its URL says http:/,
    );
  });

  it("that never finishes its handshake runs into tlsTimeout", async () => {
    const origin = await cleanup.raw();
    const harness = cleanup.harness(urlOrigin(origin.server, "https"), { tlsTimeoutMs: 30 });
    await get(harness);
    expect(await harness.outcome()).toMatchObject({ class: "origin-timeout", phase: "tls", status: 504 });
    await (await origin.connection()).until(({ closed, ended }) => closed || ended);
  });

  it("that closes during its handshake is named as such", async () => {
    const origin = await cleanup.raw(({ socket }) => void socket.end());
    const harness = cleanup.harness(urlOrigin(origin.server, "https"));
    await get(harness);
    expect(await harness.outcome()).toMatchObject({ class: "origin-tls", phase: "tls" });
  });
});

describe("an origin on a Unix socket", () => {
  async function unixServer(server: net.Server, name: string): Promise<string> {
    const file = path.join(directory, name);
    server.listen(file);
    await once(server, "listening");
    cleanup.add(server, (each) => each.close());
    return file;
  }

  it("is reached by its path, and logged as cloudflared does", async () => {
    const server = http.createServer((request, response) => response.end(request.headers.host));
    const file = await unixServer(server, "plain.sock");
    // The host that a rule names is for origins with a host.
    const harness = cleanup.harness({ kind: "unix", path: file, tls: false }, { httpHostHeader: "in.example" });
    expect((await get(harness)).body.toString()).toBe("app.example.com");
    expect((await get(harness)).body.toString()).toBe("app.example.com");
    expect(harness.logs[0]?.fields["originService"]).toBe(`unix:${file}`);
  });

  it("is reached with TLS", async () => {
    const server = https.createServer({ key, cert }, (_, response) => response.end("over tls"));
    const file = await unixServer(server, "tls.sock");
    const harness = cleanup.harness(
      { kind: "unix", path: file, tls: true },
      { caPool: cert, originServerName: "origin.test" },
    );
    expect((await get(harness)).body.toString()).toBe("over tls");
    expect(harness.logs[0]?.fields["originService"]).toBe(`unix+tls:${file}`);
  });
});

/** A port that neither takes nor refuses connections. A stopped process accepts nothing: once its backlog is full, the kernel drops further attempts. */
async function silentPort(host: string, port = 0): Promise<number> {
  const script = `require("node:net").createServer().listen({ port: ${port}, host: "${host}", backlog: 1 }, function () {
    process.stdout.write(String(this.address().port));
  })`;
  const child = cleanup.add(spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] }), (each) =>
    each.kill("SIGKILL"),
  );
  const [printed]: unknown[] = await once(child.stdout, "data");
  const taken = Number(String(printed));
  child.kill("SIGSTOP");
  for (let i = 0; i < 4; i++) {
    cleanup.add(
      net.connect(taken, host).on("error", () => {}),
      (socket) => socket.destroy(),
    );
  }
  return taken;
}

describe("an origin by name", () => {
  it("that resolves to addresses of which one refuses is reached on the other", async () => {
    const server = cleanup.add(await listen(http.createServer((_, response) => response.end("here"))), (each) =>
      each.close(),
    );
    for (const noHappyEyeballs of [false, true]) {
      const harness = cleanup.harness(urlOrigin(server, "http", "localhost"), { noHappyEyeballs });
      expect((await get(harness)).body.toString()).toBe("here");
      await harness.proxy.close();
    }
  });

  it.runIf(process.platform === "linux")(
    "of which two addresses do not answer is reached on the third, unless noHappyEyeballs gives each its share of the time",
    async () => {
      const server = await cleanup.http((_, response) => response.end("here"));
      const addresses = ["127.0.0.2", "127.0.0.3", "127.0.0.1"];
      for (const address of addresses.slice(0, 2)) await silentPort(address, portOf(server));
      const lookup = vi.spyOn(dns, "lookup");
      lookup.mockImplementation(((_host: string, _options: object, callback: (...found: unknown[]) => void) => {
        setImmediate(
          callback,
          null,
          addresses.map((address) => ({ address, family: 4 })),
        );
      }) as never);
      try {
        const ask = async (noHappyEyeballs: boolean): Promise<string> => {
          const options = { noHappyEyeballs, connectTimeoutMs: 4_000 };
          const harness = cleanup.harness(urlOrigin(server, "http", "several.test"), options);
          const stream = await get(harness);
          return stream.head?.status === 200 ? stream.body.toString() : (await harness.outcome()).class;
        };
        expect(await Promise.all([ask(false), ask(true)])).toEqual(["here", "origin-timeout"]);
      } finally {
        lookup.mockRestore();
      }
    },
  );

  it("with a password does not show it", async () => {
    const server = await cleanup.http((_, response) => response.end());
    const url = new URL(`http://user:canary@127.0.0.1:${portOf(server)}/`);
    const harness = cleanup.harness({ kind: "url", url });
    await get(harness);
    expect(harness.logs[0]?.fields["originService"]).toBe(`http://127.0.0.1:${portOf(server)}`);
    expect(JSON.stringify(harness.logs)).not.toContain("canary");
  });

  it("with a scheme that is none for requests is refused at once", () => {
    expect(() => cleanup.harness({ kind: "url", url: new URL("ftp://127.0.0.1") })).toThrow(/http, https, ws or wss/);
  });

  it.runIf(process.platform === "linux")(
    "that does not answer the connection attempt runs into connectTimeout",
    async () => {
      const port = await silentPort("127.0.0.1");
      const harness = cleanup.harness(portOrigin(port), { connectTimeoutMs: 100 });
      await get(harness);
      expect(await harness.outcome()).toMatchObject({ class: "origin-timeout", phase: "connect", status: 504 });
      expect(harness.outcomes[0]?.error?.message).toMatch(/connectTimeout/);
      await harness.proxy.close();
    },
  );
});

describe("a proxy without an origin to ask", () => {
  it("answers the status that was set", async () => {
    const harness = cleanup.harness({ kind: "status", status: 404 });
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream, { method: "POST" }), 0);
    expect(stream.head).toEqual({ status: 404, headers: [], contentLength: undefined, source: "origin" });
    expect(stream.ended).toBe(true);
    stream.give("body");
    expect(stream.credited).toBe(4);
    expect(await harness.outcome()).toMatchObject({ class: "ok", status: 404 });
  });

  it.each([502, 503, 504])("counts %i as the owner's answer, which nothing is wrong with", async (status) => {
    const harness = cleanup.harness({ kind: "status", status });
    const stream = new FakeStream();
    harness.proxy.handle(httpRequest(stream), 0);
    expect(stream.head).toEqual({ status, headers: [], contentLength: undefined, source: "origin" });
    expect(await harness.outcome()).toMatchObject({ class: "ok", status });
    expect(harness.logs.filter(({ level }) => level !== "debug")).toEqual([]);
  });

  it("tells no origin where nothing is configured", async () => {
    const { ingress } = parseIngress({}, { readFile: String });
    const [rule] = ingress?.rules ?? [];
    if (rule?.service.kind !== "status") throw new Error("unreachable");
    const harness = cleanup.harness(rule.service);
    const stream = new FakeStream();
    harness.proxy.handle(webSocketRequest(stream), 0);
    expect(stream.head?.status).toBe(503);
    expect(harness.logs.filter(({ level }) => level === "warn")).toHaveLength(1);
    expect(await harness.outcome()).toMatchObject({
      class: "no-origin",
      phase: "match",
      kind: "websocket",
      status: 503,
    });
  });
});

describe("a defect behind a stream", () => {
  it("becomes an outcome", async () => {
    const origin = await cleanup.http((_, response) => response.end("x"));
    const harness = cleanup.harness(urlOrigin(origin));
    const stream = new FakeStream({ bodyless: true });
    stream.respond = () => {
      throw new Error("the transport failed");
    };
    harness.proxy.handle(httpRequest(stream), 0);
    const outcome = await harness.outcome();
    expect(outcome.class).not.toBe("ok");
    expect(outcome.error?.message).toContain("the transport failed");
    expect(harness.proxy.activeRequests).toBe(0);
  });
});
