/** What a hostile or broken peer may do, with valid keys: the named error, bounded memory, no crash. */
import { describe, expect, it } from "vitest";
import { transportErrorName } from "../../../src/protocol/quic/errors.ts";
import type { FrameWriter } from "../../../src/protocol/quic/frame-writer.ts";
import {
  DEFAULT_MAX_STREAMS,
  MAX_PATH_RESPONSES,
  MAX_RETRY_TOKEN,
  MAX_UNACKED_RETIREMENTS,
} from "../../../src/protocol/quic/limits.ts";
import { type PacketNumberSpace, Space } from "../../../src/protocol/quic/packet-number.ts";
import { writeRetry } from "../../../src/protocol/quic/retry.ts";
import { Forger, type Frames } from "./forger.ts";
import { Pair } from "./pair.ts";

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");
const id = (n: number): Buffer => Buffer.from(`id${n.toString().padStart(6, "0")}`);

/** What the victim closed with. */
function outcome(pair: Pair, as: "client" | "server"): string {
  const { closed } = as === "client" ? pair.atServer : pair.atClient;
  if (closed === undefined) return "open";
  return closed.end === "violation" ? transportErrorName(closed.errorCode ?? -1) : closed.end;
}

/** Connects, then sends frames in the name of an end. */
function attack(as: "client" | "server", space: PacketNumberSpace, ...packets: Frames[]): string {
  const pair = new Pair().connect();
  const forger = new Forger(pair, as);
  for (const frames of packets) forger.send(space, frames);
  return outcome(pair, as);
}

describe("frames that break a rule", () => {
  it.each<[string, "client" | "server", string, Frames[]]>([
    [
      "an ACK of a packet that was never sent",
      "client",
      "PROTOCOL_VIOLATION",
      [(w) => w.ack(Float64Array.of(5000, 5000), 1, 0)],
    ],
    ["HANDSHAKE_DONE from a client", "client", "PROTOCOL_VIOLATION", [(w) => w.handshakeDone()]],
    ["NEW_TOKEN from a client", "client", "PROTOCOL_VIOLATION", [(w) => w.newToken(id(1))]],
    ["an unknown frame", "client", "FRAME_ENCODING_ERROR", [hex("40ff")]],
    ["a type in more bytes than it needs", "client", "FRAME_ENCODING_ERROR", [hex("4001 0000")]],
    ["a type that reads as PADDING", "client", "FRAME_ENCODING_ERROR", [hex("4000 0000")]],
    ["a frame that is cut short", "client", "FRAME_ENCODING_ERROR", [hex("00 00 00 06 00 44ff")]],
    [
      "RETIRE_CONNECTION_ID of what was never issued",
      "client",
      "PROTOCOL_VIOLATION",
      [(w) => w.retireConnectionId(99)],
    ],
    ["RETIRE_CONNECTION_ID of an id without bytes", "server", "PROTOCOL_VIOLATION", [(w) => w.retireConnectionId(0)]],
    [
      "NEW_CONNECTION_ID from a client without ids",
      "client",
      "PROTOCOL_VIOLATION",
      [(w) => w.newConnectionId(1, 0, id(1), Buffer.alloc(16))],
    ],
    [
      "more connection ids than we keep",
      "server",
      "CONNECTION_ID_LIMIT_ERROR",
      [10, 11, 12, 13, 14].map((n) => (w: FrameWriter) => w.newConnectionId(n, 0, id(n), Buffer.alloc(16, n))),
    ],
    [
      "a stream above the limit",
      "client",
      "STREAM_LIMIT_ERROR",
      [(w) => w.stream(4 * DEFAULT_MAX_STREAMS, 0, 0, true)],
    ],
    [
      "a one-way stream above the limit",
      "client",
      "STREAM_LIMIT_ERROR",
      [(w) => w.stream(4 * DEFAULT_MAX_STREAMS + 2, 0, 0, true)],
    ],
    ["a stream of ours that we never opened", "client", "STREAM_STATE_ERROR", [(w) => w.stream(1, 0, 0, true)]],
    ["data on a one-way stream of ours", "client", "STREAM_STATE_ERROR", [(w) => w.stream(3, 0, 0, true)]],
    ["MAX_STREAM_DATA for a one-way stream of its own", "client", "STREAM_STATE_ERROR", [(w) => w.maxStreamData(2, 5)]],
    ["STOP_SENDING for a one-way stream of its own", "client", "STREAM_STATE_ERROR", [(w) => w.stopSending(2, 5)]],
    ["data beyond a stream's window", "client", "FLOW_CONTROL_ERROR", [hex("0e 00 80500000 01 aa")]],
    ["a reset beyond a stream's window", "client", "FLOW_CONTROL_ERROR", [(w) => w.resetStream(0, 0, 2 ** 30)]],
    ["a final size that changes", "client", "FINAL_SIZE_ERROR", [hex("0f 00 0a 01 aa"), hex("0f 00 0b 01 aa")]],
    ["data beyond the final size", "client", "FINAL_SIZE_ERROR", [hex("0f 00 0a 01 aa"), hex("0e 00 14 01 aa")]],
    ["a final size below what has come", "client", "FINAL_SIZE_ERROR", [hex("0e 00 14 01 aa"), hex("0f 00 0a 01 aa")]],
    ["a reset below what has come", "client", "FINAL_SIZE_ERROR", [hex("0e 00 14 01 aa"), hex("04 00 00 05")]],
    ["CRYPTO beyond any handshake", "client", "CRYPTO_BUFFER_EXCEEDED", [hex("06 80100000 01 aa")]],
    ["a handshake message after the handshake", "client", "CRYPTO_ERROR (TLS alert 10)", [hex("06 00 04 01000000")]],
  ])("%s (%s): %s", (_what, as, expected, packets) => {
    expect(attack(as, Space.application, ...packets)).toBe(expected);
  });
});

describe("a DATAGRAM", () => {
  it("that we did not ask for, or larger than we announced: PROTOCOL_VIOLATION", () => {
    for (const [limit, length, expected] of [
      [0, 1, "PROTOCOL_VIOLATION"],
      [100, 100, "PROTOCOL_VIOLATION"],
      [100, 98, "open"],
    ] as const) {
      const pair = new Pair({ client: { maxDatagramFrameSize: limit } }).connect();
      new Forger(pair, "server").send(Space.application, (writer) => writer.datagram(Buffer.alloc(length)));
      expect(outcome(pair, "server")).toBe(expected);
    }
  });

  it("in a flood: all are handed over, none is kept", () => {
    const pair = new Pair().connect();
    const forger = new Forger(pair, "client");
    for (let n = 0; n < 2000; n++) forger.send(Space.application, (writer) => writer.datagram(Buffer.alloc(1000)));
    expect(pair.atServer.datagrams).toHaveLength(2000);
    expect(outcome(pair, "client")).toBe("open");
  });
});

describe("floods", () => {
  it("of NEW_CONNECTION_ID that retire each other, without acknowledging: CONNECTION_ID_LIMIT_ERROR (CVE-2024-22189)", () => {
    const pair = new Pair().connect();
    const forger = new Forger(pair, "server");
    let sent = 0;
    for (let n = 10; n < 10_000 && outcome(pair, "server") === "open"; n++, sent++) {
      forger.send(Space.application, (writer) => writer.newConnectionId(n, n, id(n), Buffer.alloc(16, 1)));
      pair.client.send(pair.now);
    }
    expect(outcome(pair, "server")).toBe("CONNECTION_ID_LIMIT_ERROR");
    expect(sent).toBeLessThanOrEqual(MAX_UNACKED_RETIREMENTS + 1);
  });

  it("of PATH_CHALLENGE: no more answers than we keep (CVE-2023-49295)", () => {
    const pair = new Pair().connect();
    const forger = new Forger(pair, "server");
    forger.send(Space.application, (writer) => {
      for (let n = 0; n < 100; n++) writer.pathChallenge(Buffer.alloc(8, n));
    });
    const datagrams = pair.client.send(pair.now);
    expect(datagrams).toHaveLength(1);
    // Filled up to 1200 bytes, as the path must carry that; four answers of 9 bytes each stand in it.
    expect(datagrams[0]).toHaveLength(1200);
    expect(MAX_PATH_RESPONSES).toBeLessThan(10);
    expect(pair.client.send(pair.now)).toHaveLength(0);
    expect(outcome(pair, "server")).toBe("open");
  });

  it("of PINGs and of packets that don't open cost no answer each", () => {
    const pair = new Pair().connect();
    const forger = new Forger(pair, "client");
    for (let n = 0; n < 1000; n++) forger.send(Space.application, (writer) => writer.ping());
    expect(pair.server.send(pair.now)).toHaveLength(1);
    for (let n = 0; n < 1000; n++) {
      const datagram = forger.datagram(Space.application, (writer) => writer.ping());
      datagram[datagram.length - 1] = (datagram[datagram.length - 1] as number) ^ 1;
      pair.server.receive(datagram, pair.now);
    }
    expect(pair.server.send(pair.now)).toHaveLength(0);
    expect(outcome(pair, "client")).toBe("open");
  });

  it("of one-byte pieces with gaps: the stream is reset, and what is held stays small", () => {
    const pair = new Pair().connect();
    const forger = new Forger(pair, "client");
    const before = process.memoryUsage().arrayBuffers;
    for (let n = 0; n < 32_000; n += 200) {
      forger.send(Space.application, (writer) => {
        for (let i = 0; i < 200; i++) {
          writer.stream(0, 2 * (n + i) + 1, 1, false);
          writer.append(Buffer.of(1), 0, 1);
        }
      });
    }
    expect([pair.atServer.streams[0]?.evicted, outcome(pair, "client")]).toEqual([true, "open"]);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 1024 * 1024);
  });

  it("of packet numbers with gaps: the ACK names the newest ranges only", () => {
    const pair = new Pair().connect();
    const forger = new Forger(pair, "client");
    for (let n = 0; n < 5000; n++) forger.send(Space.application, (writer) => writer.ping(), 2000 + 2 * n);
    const [ack] = pair.server.send(pair.now);
    expect(ack?.length).toBeLessThan(150);
    expect(outcome(pair, "client")).toBe("open");
  });

  it("of stream resets and stops on one stream", () => {
    const pair = new Pair().connect();
    const forger = new Forger(pair, "client");
    for (let n = 0; n < 1000; n++) {
      forger.send(Space.application, (writer) => {
        writer.resetStream(0, 1, 0);
        writer.stopSending(0, 1);
      });
    }
    expect(pair.atServer.streams).toHaveLength(1);
    expect(outcome(pair, "client")).toBe("open");
  });

  it("of limits: a peer that allows 2^60 streams costs nothing", () => {
    const pair = new Pair({ server: { maxStreamsBidi: 2 ** 53 - 1 } }).connect();
    new Forger(pair, "server").send(
      Space.application,
      hex("12 d000000000000000 13 d000000000000000 10 ffffffffffffffff"),
    );
    expect(pair.client.openStream(true)).toBeDefined();
    expect(outcome(pair, "server")).toBe("open");
  });
});

describe("frames in the wrong packets", () => {
  it.each([Space.initial, Space.handshake])(
    "space %d: all but PADDING, PING, ACK, CRYPTO, CONNECTION_CLOSE",
    (space) => {
      for (let type = 4; type <= 0x31; type++) {
        if (type === 0x06 || type === 0x1c || (type > 0x1e && type < 0x30)) continue;
        const pair = new Pair();
        // Before the server is done: it still has the keys of both spaces.
        pair.run(5_000, () => pair.secrets.client.has("handshake"));
        new Forger(pair, "client").send(space, Buffer.concat([Buffer.of(type), Buffer.alloc(40)]));
        expect([type, outcome(pair, "client")]).toEqual([type, "PROTOCOL_VIOLATION"]);
      }
    },
  );
});

describe("spoofed packets", () => {
  it("a Version Negotiation counts only as the very first answer", () => {
    const pair = new Pair();
    const versions = (source: Buffer, list: string): Buffer =>
      Buffer.concat([hex("80 00000000 00"), Buffer.of(source.length), source, hex(list)]);
    pair.flush();
    pair.client.receive(versions(id(1), "6b3343cf"), pair.now);
    pair.client.receive(versions(pair.originalDestination, "00000001 6b3343cf"), pair.now);
    expect(pair.client.state).toBe("handshaking");
    pair.connect();
    pair.client.receive(versions(pair.originalDestination, "6b3343cf"), pair.now);
    expect(pair.client.state).toBe("connected");

    const refused = new Pair();
    refused.client.receive(versions(refused.originalDestination, "6b3343cf"), refused.now);
    expect([refused.client.state, refused.atClient.closed?.code]).toEqual(["closed", "ERR_UNDERPASS_QUIC_VERSION"]);
  });

  it("a stateless reset counts with the right token only", () => {
    const pair = new Pair().connect();
    const reset = (token: Buffer): Buffer => Buffer.concat([Buffer.of(0x43), Buffer.alloc(30, 7), token]);
    pair.client.receive(reset(Buffer.alloc(16)), pair.now);
    expect(pair.client.state).toBe("connected");
    pair.client.receive(reset(pair.resetToken), pair.now);
    expect([pair.client.state, pair.atClient.closed?.code]).toEqual(["draining", "ERR_UNDERPASS_QUIC_STATELESS_RESET"]);
  });

  it("a Retry counts once, before anything else, with its integrity tag", () => {
    const pair = new Pair();
    const retry = (source: Buffer): Buffer =>
      writeRetry({ destination: pair.clientId, source }, Buffer.from("token"), pair.originalDestination);
    const forged = retry(id(1));
    forged[forged.length - 1] = (forged[forged.length - 1] as number) ^ 1;
    pair.client.receive(forged, pair.now);
    expect(destinationOf(pair)).toEqual(pair.originalDestination);
    pair.client.receive(retry(id(2)), pair.now);
    expect(destinationOf(pair)).toEqual(id(2));
    pair.client.receive(retry(id(3)), pair.now);
    expect(destinationOf(pair)).toEqual(id(2));

    const late = new Pair().connect();
    late.client.receive(
      writeRetry({ destination: late.clientId, source: id(1) }, Buffer.from("token"), late.originalDestination),
      late.now,
    );
    expect(late.client.state).toBe("connected");
  });

  it("a Retry whose token leaves our Initials no room ends the connection at once; the largest that is taken does not", () => {
    const retry = (pair: Pair, bytes: number): Buffer =>
      writeRetry({ destination: pair.clientId, source: id(1) }, Buffer.alloc(bytes, 1), pair.originalDestination);
    for (const bytes of [MAX_RETRY_TOKEN + 1, 1_150, 1_400]) {
      const pair = new Pair();
      pair.client.receive(retry(pair, bytes), pair.now);
      expect(outcome(pair, "server")).toBe("INTERNAL_ERROR");
      expect(pair.atClient.closed?.message).toContain(`a Retry's token has ${bytes} bytes`);
    }
    const pair = new Pair();
    pair.client.receive(retry(pair, MAX_RETRY_TOKEN), pair.now);
    expect(destinationOf(pair)).toEqual(id(1));
  });

  it.each(["client", "server"] as const)("datagrams without a byte change nothing at a %s", (role) => {
    for (const pair of [new Pair(), new Pair().connect()]) {
      const end = pair[role];
      pair.flush();
      const before = { state: end.state, deadline: end.deadline(), stats: end.stats };
      for (let n = 0; n < 1_000; n++) end.receive(Buffer.alloc(0), pair.now);
      expect(end.send(pair.now)).toEqual([]);
      // Nor does the idle timeout begin anew by them, or anything become due.
      expect({ state: end.state, deadline: end.deadline(), stats: end.stats }).toEqual(before);
      pair.connect();
      expect([pair.client.state, pair.server.state]).toEqual(["connected", "connected"]);
    }
  });

  it("packets for which there are no keys yet are kept, but few", () => {
    const pair = new Pair();
    const before = process.memoryUsage().arrayBuffers;
    for (let n = 0; n < 20_000; n++) {
      pair.client.receive(Buffer.concat([Buffer.of(0x40), Buffer.alloc(1199, n)]), pair.now);
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024 * 1024);
    pair.connect();
    expect(pair.client.state).toBe("connected");
  });
});

/** The id that the client's next Initial goes to. */
function destinationOf(pair: Pair): Buffer {
  const [datagram] = pair.client.send((pair.now += 3_000));
  pair.client.onTimeout(pair.now);
  const bytes = datagram ?? pair.client.send(pair.now)[0];
  if (bytes === undefined) throw new Error("the client says nothing");
  return bytes.subarray(6, 6 + (bytes[5] as number));
}
