/** What goes wrong on request, and certificates, against a connector whose HTTP/2 is Node's. */
import { once } from "node:events";
import tls from "node:tls";
import { describe, expect, it } from "vitest";
import type { CertificateKind, Fault, MockEdge } from "../../src/mock-edge/index.ts";
import { startNodeConnector } from "./node-connector.ts";
import { answering, start, textOf } from "./start.ts";

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
