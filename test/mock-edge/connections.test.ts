/** Registration, routing and shutdown, against a connector whose HTTP/2 is Node's. */
import { once } from "node:events";
import type { ServerHttp2Stream } from "node:http2";
import tls from "node:tls";
import { describe, expect, it } from "vitest";
import { makeCredentials } from "../config/make-credentials.ts";
import { originHead, startNodeConnector } from "./node-connector.ts";
import { answering, start, textOf } from "./start.ts";

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
