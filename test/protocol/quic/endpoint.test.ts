/** The server's side of a socket (RFC 9000 §§ 5.2, 6, 8.1, 9.3, 10.3), with the real TLS. */
import { describe, expect, it } from "vitest";
import { HeaderReader, PacketType, writeLongIds } from "../../../src/protocol/quic/header.ts";
import { EndpointRig } from "./endpoint-rig.ts";

const A = "192.0.2.1:1000";
const B = "192.0.2.2:2000";

/** A client's Initial that opens, of another client; ready to be sent from anywhere. */
function firstDatagram(rig: EndpointRig, options = {}): Buffer {
  const other = rig.connect("elsewhere:1", options);
  const [datagram] = other.connection.send(rig.now);
  rig.clients.pop();
  if (datagram === undefined) throw new Error("no first datagram");
  return Buffer.from(datagram);
}

describe("a server endpoint", () => {
  it("accepts clients, and routes each one's datagrams to its connection", () => {
    const rig = new EndpointRig();
    const clients = [rig.connect(A), rig.connect(B)];
    rig.run(500);
    expect(clients.map(({ connection }) => connection.state)).toEqual(["connected", "connected"]);
    expect([...rig.endpoint.connections].map((one) => one.state)).toEqual(["connected", "connected"]);
    expect(clients[0]?.recorder.info).toMatchObject({ alpn: "test", group: "X25519" });
    clients.forEach(({ connection }, n) => connection.openStream(true)?.write(Buffer.from(`stream of ${n}`), true));
    rig.run(100);
    expect(rig.accepted.map((one) => one.streams[0]?.bytes.toString())).toEqual(["stream of 0", "stream of 1"]);
    expect(rig.replies).toEqual([]);
  });

  it("asks by Retry who is there, where it is told to", () => {
    const rig = new EndpointRig({ endpoint: { alwaysRetry: true } });
    const { connection, recorder } = rig.connect(A);
    rig.run(500);
    expect(connection.state).toBe("connected");
    expect(rig.replies).toHaveLength(1);
    const header = new HeaderReader();
    expect(header.read(rig.replies[0] as Buffer, 0, 0) && header.type).toBe(PacketType.retry);

    // The token of that connection saves the next one its round trip, from the same host, with any port.
    expect(recorder.tokens).toHaveLength(1);
    const next = rig.connect("192.0.2.1:3000", { token: recorder.tokens[0] as Buffer });
    rig.run(500);
    expect(next.connection.state).toBe("connected");
    expect(rig.replies).toHaveLength(1);
    const stolen = rig.connect(B, { token: recorder.tokens[0] as Buffer });
    rig.run(500);
    expect(stolen.connection.state).toBe("connected");
    expect(rig.replies).toHaveLength(2);
  });

  it("refuses a Retry's token from another address: INVALID_TOKEN, or as none", () => {
    let count = 0;
    let second: Buffer | undefined;
    const rig = new EndpointRig({
      endpoint: { alwaysRetry: true },
      link: (datagram, toServer) => {
        if (!toServer || ++count < 2) return datagram;
        second ??= datagram;
        return undefined;
      },
    });
    rig.connect(A);
    rig.run(12);
    expect(second).toBeDefined();
    const { reply, connection } = rig.endpoint.receive(Buffer.from(second as Buffer), B, rig.now);
    expect(connection).toBeUndefined();
    // It does not open for B: a token that is not ours, so that B is asked as well.
    expect(reply).toBeDefined();
    // Too late for A.
    const late = rig.endpoint.receive(Buffer.from(second as Buffer), A, rig.now + 60_000);
    expect(late.connection).toBeUndefined();
    expect(late.reply).toBeDefined();
  });

  it("asks for Retry by itself when many have not shown their address", () => {
    const rig = new EndpointRig();
    let n = 0;
    for (; n < 300; n++) {
      const { reply } = rig.endpoint.receive(firstDatagram(rig), `203.0.113.${n % 250}:${n}`, rig.now);
      if (reply !== undefined) break;
    }
    expect(n).toBe(100);
    expect([...rig.endpoint.connections]).toHaveLength(100);
    rig.run(60_000);
    expect([...rig.endpoint.connections]).toHaveLength(0);
    expect(rig.endpoint.receive(firstDatagram(rig), A, rig.now).connection).toBeDefined();
  });

  it("offers version 1 to who speaks another one, but not to short datagrams", () => {
    const rig = new EndpointRig();
    const bytes = Buffer.alloc(1200);
    writeLongIds(bytes, 0, 0xc0, 0x1a2a3a4a, { destination: Buffer.alloc(8, 1), source: Buffer.alloc(5, 2) });
    const { reply } = rig.endpoint.receive(Buffer.from(bytes), A, rig.now);
    const header = new HeaderReader();
    expect(header.read(reply as Buffer, 0, 5) && header.type).toBe(PacketType.versionNegotiation);
    expect(rig.endpoint.receive(bytes.subarray(0, 1199), A, rig.now)).toEqual({});
  });

  it("answers packets of connections that it does not know by a stateless reset, which ends them", () => {
    const rig = new EndpointRig();
    const { connection, recorder } = rig.connect(A);
    rig.run(500);
    for (const one of rig.endpoint.connections) rig.endpoint.forget(one);
    connection.sendDatagram(Buffer.alloc(200));
    rig.run(500);
    expect(recorder.closed?.code).toBe("ERR_UNDERPASS_QUIC_STATELESS_RESET");
    expect(rig.replies.length).toBeGreaterThan(0);
    expect(rig.endpoint.receive(Buffer.alloc(25, 0x41), A, rig.now)).toEqual({});
  });

  it("says nothing to noise, short Initials, Initials that don't open, ids that are too short", () => {
    const rig = new EndpointRig();
    const first = firstDatagram(rig);
    const damaged = Buffer.from(first);
    damaged[damaged.length - 1] = (damaged[damaged.length - 1] as number) ^ 1;
    const short = Buffer.from(first);
    short[5] = 7;
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(1200), first.subarray(0, 1199), damaged, short]) {
      expect(rig.endpoint.receive(Buffer.from(bytes), A, rig.now)).toEqual({});
    }
    expect([...rig.endpoint.connections]).toHaveLength(0);
  });

  it("refuses connections above its limit", () => {
    const rig = new EndpointRig({ endpoint: { maxConnections: 1 } });
    rig.connect(A);
    rig.run(500);
    const { connection, recorder } = rig.connect(B);
    rig.run(500);
    expect(connection.state).not.toBe("connected");
    expect(recorder.closed).toMatchObject({ end: "peer-transport", errorCode: 2 });
  });

  it("follows a client whose address changes, once it has shown that it receives there", () => {
    const rig = new EndpointRig();
    const client = rig.connect(A);
    rig.run(500);
    const [server] = [...rig.endpoint.connections];
    if (server === undefined) throw new Error("no connection");
    client.address = B;
    client.connection.sendDatagram(Buffer.from("from elsewhere"));
    rig.run(8);
    expect(rig.endpoint.addressOf(server)).toBe(B);
    expect(server.addressValidated).toBe(false);
    rig.run(200);
    expect(server.addressValidated).toBe(true);
    expect(rig.accepted[0]?.datagrams.map(String)).toEqual(["from elsewhere"]);
  });

  it("does not follow what only repeats a client's packet", () => {
    const rig = new EndpointRig();
    const client = rig.connect(A);
    rig.run(500);
    const [server] = [...rig.endpoint.connections];
    if (server === undefined) throw new Error("no connection");
    client.connection.sendDatagram(Buffer.from("x"));
    const [datagram] = client.connection.send(rig.now);
    rig.endpoint.receive(Buffer.from(datagram as Buffer), A, rig.now);
    rig.endpoint.receive(Buffer.from(datagram as Buffer), B, rig.now);
    expect(rig.endpoint.addressOf(server)).toBe(A);
  });
});
