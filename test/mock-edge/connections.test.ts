/** Registration, routing, shutdown and faults, against a connector whose HTTP/2 is Node's. */
import { once } from "node:events";
import type { ServerHttp2Stream } from "node:http2";
import net from "node:net";
import tls from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import {
  type CertificateKind,
  type Fault,
  type MockEdge,
  type MockEdgeOptions,
  startMockEdge,
} from "../../src/mock-edge/index.ts";
import { makeCredentials } from "../config/make-credentials.ts";
import { originHead, startNodeConnector } from "./node-connector.ts";

const edges: MockEdge[] = [];

afterEach(async () => {
  for (const edge of edges.splice(0)) await edge.close();
});

async function start(options: MockEdgeOptions = {}): Promise<MockEdge> {
  const edge = await startMockEdge(options);
  edges.push(edge);
  return edge;
}

function answering(text: string) {
  return (stream: ServerHttp2Stream): void => {
    stream.respond(originHead(200));
    stream.end(text);
  };
}

async function textOf(edge: MockEdge, input = "/", init?: RequestInit): Promise<string> {
  return await (await edge.fetch(input, init)).text();
}

describe("registration", () => {
  it("answers with a connection id and a location, and lists the connection", async () => {
    const edge = await start();
    const tunnel = edge.issueTunnel();
    const connector = await startNodeConnector(edge, { token: tunnel.token, connIndex: 1 });
    expect(connector.result).toMatchObject({ kind: "registered", location: "LAB02", remotelyManaged: true });
    const [connection] = await edge.registered(1);
    expect(connection).toMatchObject({ state: "registered", location: "LAB02", tlsVersion: "TLSv1.3" });
    expect(connector.result).toMatchObject({ connectionId: connection?.id });
    expect(edge.registrations).toEqual([
      expect.objectContaining({
        tunnelId: tunnel.tunnelId,
        accountTag: tunnel.accountTag,
        connIndex: 1,
        version: "0.0.1",
        features: ["allow_remote_config", "serialized_headers"],
        credentials: "valid",
      }),
    ]);
    expect(JSON.stringify(edge.registrations)).not.toContain("tunnelSecret");
  });

  it.each(["unknown-tunnel", "wrong-account", "wrong-secret"] as const)(
    "refuses credentials: %s",
    async (credentials) => {
      const edge = await start();
      const issued = JSON.parse(edge.issueTunnel().credentials) as Record<string, string>;
      const other = makeCredentials();
      const token = btoa(
        JSON.stringify({
          a: credentials === "wrong-account" ? other.accountTag : issued["AccountTag"],
          s: credentials === "wrong-secret" ? other.secret : issued["TunnelSecret"],
          t: credentials === "unknown-tunnel" ? other.tunnelId : issued["TunnelID"],
        }),
      );
      const connector = await startNodeConnector(edge, { token });
      expect(connector.result).toMatchObject({ kind: "refused", cause: expect.stringContaining("Unauthorized") });
      expect(edge.registrations[0]).toMatchObject({ credentials });
      connector.rpc.close();
      await connector.closed;
    },
  );

  it("takes any token where it is told to", async () => {
    const edge = await start({ acceptAnyToken: true });
    expect((await startNodeConnector(edge, { token: makeCredentials().token })).result.kind).toBe("registered");
  });

  it("asks for the local configuration where it is told to", async () => {
    const edge = await start({ remotelyManaged: false });
    const connector = await startNodeConnector(edge);
    expect(connector.result).toMatchObject({ remotelyManaged: false });
    await connector.rpc.updateLocalConfiguration(Buffer.from('{"ingress":[]}'), { timeoutMs: 5_000 });
    expect(edge.localConfigurations).toEqual([{ connIndex: 0, config: '{"ingress":[]}' }]);
  });
});

describe("routing", () => {
  it("takes a tunnel's connections in turn", async () => {
    const edge = await start();
    const token = edge.issueToken();
    for (const connIndex of [0, 1, 2])
      await startNodeConnector(edge, { token, connIndex, onStream: answering(String(connIndex)) });
    await edge.registered(3);
    const answers: string[] = [];
    for (let i = 0; i < 6; i++) answers.push(await textOf(edge));
    expect(answers.sort()).toEqual(["0", "0", "1", "1", "2", "2"]);
    expect(answers.slice(0, 3)).not.toEqual(answers.slice(3));
  });

  it("goes by host name where there are several tunnels", async () => {
    const edge = await start();
    const one = edge.issueTunnel({ hostnames: ["One.example.com"] });
    const two = edge.issueTunnel();
    await startNodeConnector(edge, { token: one.token, onStream: answering("one") });
    expect(await textOf(edge, "http://other.example.com/")).toBe("one");
    await startNodeConnector(edge, { token: two.token, onStream: answering("two") });
    await edge.registered(2);
    edge.route("two.example.com", two.tunnelId);
    expect(await textOf(edge, "http://one.example.com:8080/")).toBe("one");
    expect(await textOf(edge, "https://two.example.com/")).toBe("two");
    expect((await edge.fetch("http://other.example.com/")).status).toBe(530);
    edge.dropConnections({ tunnelId: one.tunnelId });
    await edge.until(() => edge.connections.length === 1);
    expect((await edge.fetch("http://one.example.com/")).status).toBe(530);
    expect(await textOf(edge, "http://other.example.com/")).toBe("two");
  });
});

describe("visitors in this process", () => {
  it("fetch with a body, a stream, an abort", async () => {
    const edge = await start();
    const lengths: unknown[] = [];
    const codes: number[] = [];
    await startNodeConnector(edge, {
      onStream(stream, headers) {
        lengths.push(headers["content-length"]);
        stream.respond(originHead(200, { "X-Scheme": String(headers["x-forwarded-proto"]) }));
        stream.on("close", () => codes.push(stream.rstCode));
        if (headers[":path"] === "/hold") stream.write("held");
        else stream.pipe(stream);
      },
    });
    await edge.registered(1);
    const response = await edge.fetch("https://app.example.com/", { method: "POST", body: "whole" });
    expect(response.headers.get("x-scheme")).toBe("https");
    expect(await response.text()).toBe("whole");
    const init = { method: "POST", body: new Blob(["in ", "parts"]).stream(), duplex: "half" };
    expect(await textOf(edge, "/", init)).toBe("in parts");
    expect(lengths).toEqual(["5", undefined]);
    const abort = new AbortController();
    const held = await edge.fetch("/hold", { signal: abort.signal });
    const reader = held.body?.getReader();
    expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe("held");
    abort.abort();
    await expect(reader?.read()).rejects.toThrow();
    await expect.poll(() => codes.at(-1)).toBe(8);
  });

  it("open streams with exactly their fields", async () => {
    const edge = await start();
    await startNodeConnector(edge, {
      onStream(stream, headers) {
        stream.respond({ ":status": 200, "x-got": String(headers["x-mine"]) });
        stream.end("ok");
      },
    });
    await edge.registered(1);
    const stream = edge.openStream({ authority: "a.test", fields: [["x-mine", "1"]], end: true });
    expect(await stream.head).toMatchObject({ status: 200, fields: expect.arrayContaining([["x-got", "1"]]) });
    expect(Buffer.concat((await stream.toArray()) as Buffer[]).toString()).toBe("ok");
    expect(() => edge.openStream({ authority: "a.test" }, { connIndex: 3 })).toThrow("no connection");
  });

  it("open TCP streams, and hear of refusals", async () => {
    const edge = await start();
    await startNodeConnector(edge, {
      onStream(stream, headers) {
        if (headers[":authority"] === "10.0.0.1:1") {
          const meta = '{"src":"cloudflared","flow_rate_limited":true}';
          stream.respond({ ":status": 502, "cf-cloudflared-response-meta": meta }, { endStream: true });
          return;
        }
        stream.respond(originHead(200));
        stream.pipe(stream);
      },
    });
    await edge.registered(1);
    const stream = await edge.connectTcp("10.0.0.1:22");
    stream.end("ping");
    expect(Buffer.concat((await stream.toArray()) as Buffer[]).toString()).toBe("ping");
    await expect(edge.connectTcp("10.0.0.1:1")).rejects.toThrow("limit of flows");
  });

  it("push a configuration to each connector once", async () => {
    const edge = await start();
    const bodies: string[] = [];
    const onStream = (stream: ServerHttp2Stream): void => {
      let body = "";
      stream.on("data", (chunk: Buffer) => (body += chunk.toString()));
      stream.on("end", () => {
        bodies.push(body);
        stream.respond({ ":status": 200 });
        stream.end('{"lastAppliedVersion":7,"err":null}');
      });
    };
    const clientId = crypto.randomUUID();
    const token = edge.issueToken();
    await startNodeConnector(edge, { token, clientId, connIndex: 0, onStream });
    await startNodeConnector(edge, { token, clientId, connIndex: 1, onStream });
    await edge.registered(2);
    const results = await edge.pushConfiguration(7, { ingress: [] });
    expect(results).toEqual([{ clientId, status: 200, lastAppliedVersion: 7, error: null }]);
    expect(bodies).toEqual(['{"version":7,"config":{"ingress":[]}}']);
    await edge.pushConfiguration(8, '{"broken":');
    expect(bodies[1]).toBe('{"version":8,"config":{"broken":}');
  });
});

describe("a connection", () => {
  it("answers PING, and is told when it does not", async () => {
    const edge = await start({ pingIntervalMs: 50, pingTimeoutMs: 200 });
    const connector = await startNodeConnector(edge);
    const [connection] = await edge.registered(1);
    expect(await connection?.ping()).toBeGreaterThanOrEqual(0);
    await once(connector.session, "ping");
    // A connector that is gone without a word is given up: SETTINGS and their acknowledgement, and then nothing.
    const [host = "", port = ""] = edge.edgeAddress.split(":");
    const silent = tls.connect({ host, port: Number(port), servername: "h2.cftunnel.com", ca: edge.caPem });
    silent.write(Buffer.from("000000040000000000000000040100000000", "hex"));
    silent.resume();
    await once(silent, "close");
    expect(connection?.state).toBe("registered");
  });

  it("takes no new requests once it has unregistered, finishes those in flight, and is closed", async () => {
    const edge = await start();
    const held: ServerHttp2Stream[] = [];
    const connector = await startNodeConnector(edge, {
      onStream(stream) {
        held.push(stream);
        stream.respond(originHead(200));
        stream.write("slow ");
      },
    });
    await edge.registered(1);
    const slow = await edge.fetch("/");
    await connector.rpc.unregister({ timeoutMs: 5_000 });
    connector.rpc.close();
    expect(edge.connections.map(({ state }) => state)).toEqual(["draining"]);
    expect((await edge.fetch("/")).status).toBe(530);
    held[0]?.end("answer");
    expect(await slow.text()).toBe("slow answer");
    await connector.closed;
    await edge.until(() => edge.connections.length === 0);
  });

  it("stays open after it has drained where the edge is passive", async () => {
    const edge = await start({ closeDrained: false });
    const connector = await startNodeConnector(edge);
    const [connection] = await edge.registered(1);
    await connector.rpc.unregister({ timeoutMs: 5_000 });
    connector.rpc.close();
    await connection?.ping();
    expect(connection?.state).toBe("draining");
  });

  it("can say GOAWAY, freeze and thaw, and be dropped", async () => {
    const edge = await start();
    const connector = await startNodeConnector(edge, { onStream: answering("ok") });
    const [connection] = await edge.registered(1);
    connection?.freeze();
    const frozen = connection?.ping();
    const answered = edge.fetch("/");
    connection?.thaw();
    await frozen;
    expect((await answered).status).toBe(200);
    const goaway = once(connector.session, "goaway");
    connection?.goaway();
    expect((await goaway)[0]).toBe(0);
    expect((await edge.fetch("/")).status).toBe(530);
    connection?.drop();
    await connector.closed;
  });

  it("can send bytes of the caller's own", async () => {
    const edge = await start();
    const connector = await startNodeConnector(edge);
    const [connection] = await edge.registered(1);
    // PING on stream 1: a connection error for whoever receives it (RFC 9113 § 6.7).
    connection?.sendRaw(Buffer.from("0000080600000000010000000000000000", "hex"));
    await connector.closed;
  });
});

describe("faults", () => {
  it.each<[string, Fault, object | RegExp]>([
    [
      "refuse",
      { kind: "refuse", cause: "no room", shouldRetry: true, retryAfterMs: 2_000 },
      { kind: "refused", cause: "no room", shouldRetry: true, retryAfterMs: 2_000 },
    ],
    ["duplicate", { kind: "duplicate" }, { kind: "refused", cause: "EDUPCONN" }],
    ["exception", { kind: "exception", reason: "it broke" }, /it broke/],
    ["delay", { kind: "delay", ms: 50 }, { kind: "registered" }],
    ["uuid-length", { kind: "uuid-length", length: 5 }, /5 bytes/],
    ["unknown-result", { kind: "unknown-result" }, /union member 7/],
    ["end-control-stream", { kind: "end-control-stream" }, /./],
    ["reset-control-stream", { kind: "reset-control-stream" }, /./],
    ["drop", { kind: "drop" }, /./],
    ["malformed", { kind: "malformed" }, /./],
    ["close-at-accept", { kind: "close-at-accept" }, /./],
  ])("%s meets whoever registers next, once", async (_name, fault, expected) => {
    const edge = await start();
    edge.fail(fault);
    if (expected instanceof RegExp) await expect(startNodeConnector(edge)).rejects.toThrow(expected);
    else expect((await startNodeConnector(edge)).result).toMatchObject(expected);
    expect((await startNodeConnector(edge)).result.kind).toBe("registered");
  });

  it("never-answer leaves the call open", async () => {
    const edge = await start();
    edge.fail({ kind: "never-answer" });
    const starting = startNodeConnector(edge);
    starting.catch(() => {});
    await edge.until(() => edge.connections.some(({ state }) => state === "registering"));
    const [connection] = edge.connections;
    await connection?.ping();
    expect(connection?.state).toBe("registering");
    edge.dropConnections();
    await expect(starting).rejects.toThrow();
  });

  it("no-control-stream and no-preface say nothing", async () => {
    const edge = await start();
    const [host = "", port = ""] = edge.edgeAddress.split(":");
    edge.fail({ kind: "no-preface" });
    const silent = tls.connect({ host, port: Number(port), servername: "h2.cftunnel.com", ca: edge.caPem });
    await once(silent, "secureConnect");
    const next = tls.connect({ host, port: Number(port), servername: "h2.cftunnel.com", ca: edge.caPem });
    const [preface] = (await once(next, "data")) as [Buffer];
    expect(preface.subarray(0, 24).toString("latin1")).toBe("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    expect(silent.bytesRead).toBe(0);
    silent.destroy();
    next.destroy();
    await edge.until(() => edge.connections.length === 0);
    edge.fail({ kind: "no-control-stream" });
    const starting = startNodeConnector(edge);
    starting.catch(() => {});
    await edge.until(() => edge.connections.length > 0);
    await edge.connections.at(-1)?.ping();
    expect(edge.registrations).toEqual([]);
    edge.dropConnections();
    await expect(starting).rejects.toThrow("before the control stream");
  });

  it("come as often as asked, for whom they are meant", async () => {
    const edge = await start();
    const token = edge.issueToken();
    edge.fail({ kind: "duplicate" }, { times: 2, connIndex: 1 });
    const kinds: string[] = [];
    for (const connIndex of [0, 1, 1, 1])
      kinds.push((await startNodeConnector(edge, { token, connIndex })).result.kind);
    expect(kinds).toEqual(["registered", "refused", "refused", "registered"]);
    edge.fail({ kind: "duplicate" });
    edge.clearFaults();
    expect((await startNodeConnector(edge)).result.kind).toBe("registered");
  });

  it("meet registered connections", async () => {
    const edge = await start();
    edge.fail({ kind: "drop-after", requests: 2 });
    const dropped = await startNodeConnector(edge, { onStream: answering("ok") });
    await edge.registered(1);
    await textOf(edge).catch(() => "");
    await edge.fetch("/");
    await dropped.closed;
    edge.fail({ kind: "drop-after", ms: 10 });
    await (await startNodeConnector(edge)).closed;
    edge.fail({ kind: "goaway" });
    const leaving = await startNodeConnector(edge);
    await once(leaving.session, "goaway");
    leaving.close();
    edge.fail({ kind: "end-control-after" });
    expect(await (await startNodeConnector(edge)).rpc.ended).toBeUndefined();
    edge.fail({ kind: "reset-control-after" });
    expect(await (await startNodeConnector(edge)).rpc.ended).toBeInstanceOf(Error);
    edge.fail({ kind: "freeze" });
    const frozen = await startNodeConnector(edge);
    expect(frozen.result.kind).toBe("registered");
    let answered = false;
    frozen.session.ping(() => (answered = true));
    // Its neighbour, asked later, is answered.
    const other = await startNodeConnector(edge);
    await new Promise<void>((resolve) => other.session.ping(() => resolve()));
    expect(answered).toBe(false);
  });

  it("raw hands the socket over", async () => {
    const edge = await start();
    edge.fail({ kind: "raw", serve: (socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n") });
    const [host = "", port = ""] = edge.edgeAddress.split(":");
    const socket = tls.connect({ host, port: Number(port), servername: "h2.cftunnel.com", ca: edge.caPem });
    expect(Buffer.concat((await socket.toArray()) as Buffer[]).toString()).toContain("400 Bad Request");
  });
});

describe("TLS", () => {
  async function code(edge: MockEdge): Promise<string | undefined> {
    return await startNodeConnector(edge).then(
      () => undefined,
      (error: NodeJS.ErrnoException) => error.code,
    );
  }

  it.each<[CertificateKind, string | undefined]>([
    ["valid", undefined],
    ["expired", "CERT_HAS_EXPIRED"],
    ["wrong-name", "ERR_TLS_CERT_ALTNAME_INVALID"],
    ["untrusted", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"],
  ])("shows a certificate that is %s", async (certificate, expected) => {
    const edge = await start({ certificate });
    expect(await code(edge)).toBe(expected);
    edge.useCertificate("valid");
    expect(await code(edge)).toBeUndefined();
  });

  it("can be held at 1.2, with an AEAD suite", async () => {
    const edge = await start({ maxTlsVersion: "TLSv1.2" });
    await startNodeConnector(edge);
    expect((await edge.registered(1))[0]?.tlsVersion).toBe("TLSv1.2");
  });

  it("ignores pre-checks", async () => {
    const edge = await start();
    const [host = "", port = ""] = edge.edgeAddress.split(":");
    const probe = tls.connect({ host, port: Number(port), servername: "probe.cftunnel.com", ca: edge.caPem });
    await once(probe, "secureConnect");
    probe.end();
    await once(probe, "close");
    await startNodeConnector(edge);
    expect(edge.connections.length).toBe(1);
  });
});

describe("the edge", () => {
  it("rejects a port that is taken, and leaves nothing open", async () => {
    const server = net.createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    if (typeof address !== "object" || address === null) throw new Error("no address");
    await expect(startMockEdge({ quickPort: address.port })).rejects.toThrow("EADDRINUSE");
    server.close();
  });

  it("ends waits when it closes, and says what it saw when they take too long", async () => {
    const edge = await start();
    await expect(edge.registered(1, { timeoutMs: 10 })).rejects.toThrow("connections: none");
    const waiting = edge.registered(1);
    const rejected = expect(waiting).rejects.toThrow("closed");
    await edge.close();
    await rejected;
  });

  it("closes with requests in flight", async () => {
    const edge = await start();
    const connector = await startNodeConnector(edge, { onStream: (stream) => stream.respond(originHead(200)) });
    await edge.registered(1);
    const response = await fetch(edge.publicUrl);
    const broken = expect(response.text()).rejects.toThrow();
    await edge.close();
    await broken;
    await connector.closed;
  });
});
