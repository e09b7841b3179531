/** ICMP of the edge over both versions of datagrams (wire § 8), with a ping of the test's own, and with the system's where there is one. */
import { spawnSync } from "node:child_process";
import { networkInterfaces } from "node:os";
import { afterEach, describe, expect, it, vi } from "vitest";
import { addressBytes } from "../../../src/protocol/bytes/ip-address.ts";
import { IcmpType, readIcmpPacket, writeIcmpPacket } from "../../../src/protocol/datagram/icmp-packet.ts";
import { writePacketV2 } from "../../../src/protocol/datagram/v2.ts";
import { writePacketV3 } from "../../../src/protocol/datagram/v3.ts";
import { DatagramHarness, type Link } from "../udp/harness.ts";
import { FakePing } from "./fake-ping.ts";

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");

const REQUEST = hex("4500002400000000 4001efd40a010203 7f00000108002e31 1234000770696e67 64617461");
const REPLY = hex("4500002400000000 ff0130d47f000001 0a01020300003631 1234000770696e67 64617461");
const EXPIRED = hex("4500002400000000 01012ed50a010203 7f00000108002e31 1234000770696e67 64617461");
const EXCEEDED = Buffer.concat([hex("4500004000000000 ff0130b87f000001 0a0102030b00f4ff 00000000"), EXPIRED]);

const probes = ["ping -n -q -c 1 -s 16 -W 4 127.0.0.1", "ping -n -q -c 1 -s 16 -W 4 ::1"];

interface Echo {
  readonly destination: string;
  readonly id?: number;
  readonly type?: number;
  readonly ttl?: number;
  readonly dataBytes?: number;
}

function echo({ destination, id = 1, type, ttl = 64, dataBytes = 8 }: Echo): Buffer {
  const family = destination.includes(":") ? 6 : 4;
  const rest = Buffer.alloc(4 + dataBytes, 7);
  rest.writeUInt16BE(id, 0);
  const source = addressBytes(family === 4 ? "10.1.2.3" : "fd00::1") ?? rest;
  const to = addressBytes(destination) ?? rest;
  return writeIcmpPacket({
    family,
    source,
    destination: to,
    ttl,
    type: type ?? IcmpType[family].echoRequest,
    code: 0,
    rest,
  });
}

function start(
  ping: FakePing,
  more: { sourceV4?: string; sourceV6?: string } = { sourceV4: "127.0.0.1", sourceV6: "::1" },
) {
  return new DatagramHarness({ icmp: { env: ping.env, platform: "linux", ...more } });
}

function send(link: Link, packet: Buffer): void {
  link.channel.deliver(writePacketV3(packet));
}

/** The packet in the next datagram, version 3. */
async function next(link: Link): Promise<Buffer> {
  const datagram = await link.channel.next();
  expect(datagram[0]).toBe(2);
  return datagram.subarray(1);
}

describe("echo requests", () => {
  it("go through the system's ping, and the answer is golden on version 2 and 3", async () => {
    const ping = new FakePing();
    const harness = start(ping);
    const [v2, v3] = [harness.attach(2, 0), harness.attach(3, 1)];
    v2.channel.deliver(writePacketV2(REQUEST));
    expect(await v2.channel.next()).toEqual(Buffer.concat([REPLY, hex("01")]));
    v3.channel.deliver(writePacketV3(REQUEST));
    expect(await v3.channel.next()).toEqual(Buffer.concat([hex("02"), REPLY]));
    // A traced packet is a packet.
    v2.channel.deliver(writePacketV2(REQUEST, Buffer.alloc(25, 1)));
    expect(await v2.channel.next()).toEqual(Buffer.concat([REPLY, hex("01")]));
    expect(harness.observer.told).toEqual(Array.from({ length: 3 }, () => ["icmpRequest", "icmpReply"]).flat());
    expect([...ping.calls].sort()).toEqual(
      [
        ...probes.slice(0, 1),
        "ping -n -q -c 1 -s 16 -W 4 ::1",
        ...Array.from({ length: 3 }, () => "ping -n -q -c 1 -s 8 -W 4 127.0.0.1"),
      ].sort(),
    );
  });

  it("IPv6, and as many bytes of data as the visitor sent", async () => {
    const ping = new FakePing();
    const harness = start(ping);
    const link = harness.attach(3);
    for (const dataBytes of [0, 1, 1232]) {
      send(link, echo({ destination: "2001:db8::7", dataBytes }));
      const reply = readIcmpPacket(await next(link));
      expect(reply).toMatchObject({ family: 6, type: 129, code: 0, ttl: 255, source: addressBytes("2001:db8::7") });
      expect(reply?.rest).toHaveLength(4 + dataBytes);
      expect(ping.calls.at(-1)).toBe(`ping -n -q -c 1 -s ${dataBytes} -W 4 2001:db8:0:0:0:0:0:7`);
    }
  });

  it("that nobody answers stay without an answer", async () => {
    const ping = new FakePing('case "$*" in *192.0.2.1) exit 1;; esac; exit 0');
    const harness = start(ping);
    const link = harness.attach(3);
    send(link, echo({ destination: "192.0.2.1" }));
    send(link, echo({ destination: "192.0.2.2" }));
    expect(readIcmpPacket(await next(link))?.source).toEqual(addressBytes("192.0.2.2"));
    while (ping.calls.length < 4) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(link.channel.sent).toEqual([]);
    expect(harness.observer.count("icmpRequest")).toBe(2);
    expect(harness.observer.count("icmpReply")).toBe(1);
  });

  it("of a flow are answered on the connection by which its last one came", async () => {
    const ping = new FakePing('case "$*" in *192.0.2.1) until [ -e "$0.go" ]; do /bin/sleep 0.02; done;; esac; exit 0');
    const harness = start(ping);
    const [first, second] = [harness.attach(3, 0), harness.attach(3, 1)];
    send(first, echo({ destination: "192.0.2.1", id: 1 }));
    send(first, echo({ destination: "192.0.2.1", id: 2 }));
    send(second, echo({ destination: "192.0.2.1", id: 1 }));
    await harness.observer.saw("icmpRequest", 3);
    ping.touch("ping.go");
    expect(readIcmpPacket(await next(first))?.rest.readUInt16BE(0)).toBe(2);
    for (let i = 0; i < 2; i++) expect(readIcmpPacket(await next(second))?.rest.readUInt16BE(0)).toBe(1);
    expect(first.channel.sent).toEqual([]);
  });

  it("whose connection is gone: the answer is dropped", async () => {
    const ping = new FakePing();
    const harness = start(ping);
    const link = harness.attach(3, 2);
    send(link, echo({ destination: "192.0.2.1" }));
    link.connection.close();
    await harness.observer.saw("icmpDropped 2 send_failed");
    expect(link.channel.sent).toEqual([]);
  });
});

describe("this machine's ping", () => {
  it("is looked for when the first echo request comes, once, and told in one line", async () => {
    const ping = new FakePing();
    const harness = start(ping);
    const link = harness.attach(3);
    expect(harness.logs).toEqual([]);
    expect(ping.calls).toEqual([]);
    for (let i = 0; i < 3; i++) send(link, echo({ destination: "192.0.2.1" }));
    for (let i = 0; i < 3; i++) await next(link);
    expect(harness.logs).toEqual([
      { level: "info", message: "ICMP echo requests go through the system's ping", fields: { ipv4: true, ipv6: true } },
    ]);
    expect(ping.calls.filter((call) => call.includes("-s 16"))).toHaveLength(2);
  });

  it("may be missing: one line, echo requests are dropped, Time Exceeded is answered", async () => {
    const ping = new FakePing("exit 0", []);
    const harness = start(ping);
    const link = harness.attach(3, 1);
    for (let i = 0; i < 3; i++) send(link, echo({ destination: "192.0.2.1" }));
    await harness.observer.saw("icmpDropped 1 write_failed", 3);
    send(link, EXPIRED);
    expect(await next(link)).toEqual(EXCEEDED);
    expect(harness.logs).toEqual([
      {
        level: "info",
        message: "ICMP echo requests are not answered: this machine has no ping that works",
        fields: {},
      },
    ]);
    expect(harness.observer.count("icmpRequest")).toBe(0);
  });

  it("may know IPv4 only, and then `ping6` is tried", async () => {
    const ping4 = new FakePing('case "$*" in *::1) exit 2;; esac; exit 0');
    const harness = start(ping4);
    const link = harness.attach(3);
    send(link, echo({ destination: "2001:db8::7" }));
    await harness.observer.saw("icmpDropped 0 write_failed");
    expect(harness.logs[0]?.fields).toEqual({ ipv4: true, ipv6: false });
    const both = new FakePing('case "$0 $*" in */ping\\ *:*) exit 2;; esac; exit 0', ["ping", "ping6"]);
    const other = start(both);
    const otherLink = other.attach(3);
    send(otherLink, echo({ destination: "2001:db8::7" }));
    expect(readIcmpPacket(await next(otherLink))?.type).toBe(129);
    expect(both.calls.at(-1)).toBe("ping6 -n -q -c 1 -s 8 -W 4 2001:db8:0:0:0:0:0:7");
  });

  const found = ["ping"].filter((name) => spawnSync(name, ["-c", "1", "127.0.0.1"]).status === 0);
  it.skipIf(found.length === 0)("answers in fact", async () => {
    const harness = new DatagramHarness({ icmp: { sourceV4: "127.0.0.1" } });
    const link = harness.attach(3);
    send(link, REQUEST);
    expect(await next(link)).toEqual(REPLY);
    if (harness.logs[0]?.fields["ipv6"] !== true) return;
    send(link, echo({ destination: "::1" }));
    expect(readIcmpPacket(await next(link))).toMatchObject({ family: 6, type: 129, source: addressBytes("::1") });
  });
});

describe("a TTL that is used up", () => {
  it("is answered by ourselves, in golden bytes, without any ping", async () => {
    const ping = new FakePing();
    const harness = start(ping);
    const [v2, v3] = [harness.attach(2, 0), harness.attach(3, 1)];
    v2.channel.deliver(writePacketV2(EXPIRED));
    expect(await v2.channel.next()).toEqual(Buffer.concat([EXCEEDED, hex("01")]));
    send(v3, EXPIRED);
    expect(await next(v3)).toEqual(EXCEEDED);
    send(v3, echo({ destination: "2001:db8::7", ttl: 0, dataBytes: 1232 }));
    const exceeded = await next(v3);
    expect(exceeded).toHaveLength(1280);
    expect(readIcmpPacket(exceeded)).toMatchObject({ type: 3, code: 0, ttl: 255, source: addressBytes("::1") });
    expect(ping.calls).toEqual([]);
    expect(harness.logs).toEqual([]);
  });

  it("comes from this machine's address unless one is set", async () => {
    const harness = start(new FakePing(), {});
    const link = harness.attach(3);
    send(link, EXPIRED);
    send(link, echo({ destination: "2001:db8::7", ttl: 1 }));
    const own = Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      .map(({ address }) => addressBytes(address.replace(/%.*/, ""))?.toString("hex"));
    for (const unspecified of ["0.0.0.0", "::"]) {
      const source = readIcmpPacket(await next(link))?.source.toString("hex");
      expect([...own, addressBytes(unspecified)?.toString("hex")]).toContain(source);
    }
  });
});

describe("what is dropped", () => {
  it("whatever is no echo request to one machine", async () => {
    const ping = new FakePing();
    const harness = start(ping);
    const link = harness.attach(3);
    const refused = [
      echo({ destination: "192.0.2.1", type: 0 }),
      echo({ destination: "192.0.2.1", type: 13 }),
      echo({ destination: "192.0.2.1", type: 3, ttl: 1 }),
      echo({ destination: "2001:db8::7", type: 1, ttl: 1 }),
      echo({ destination: "224.0.0.1" }),
      echo({ destination: "255.255.255.255" }),
      echo({ destination: "0.0.0.0" }),
      echo({ destination: "ff02::1" }),
      echo({ destination: "::" }),
    ];
    for (const packet of refused) send(link, packet);
    for (const packet of ["45", "6000", "00"]) send(link, hex(packet));
    expect(harness.observer.told).toEqual([
      ...refused.map(() => "icmpDropped 0 write_failed"),
      ...Array.from({ length: 3 }, () => "icmpDropped 0 malformed"),
    ]);
    expect(ping.calls).toEqual([]);
  });

  it("more than 256 packets at once", async () => {
    const harness = start(new FakePing());
    const link = harness.attach(3);
    for (let i = 0; i < 300; i++) send(link, EXPIRED);
    for (let i = 0; i < 256; i++) expect(await next(link)).toEqual(EXCEEDED);
    expect(harness.observer.count("icmpDropped 0 write_full")).toBe(44);
    send(link, EXPIRED);
    expect(await next(link)).toEqual(EXCEEDED);
  });

  it("all of it where ICMP is off, and after the end", async () => {
    const off = new DatagramHarness();
    const link = off.attach(3);
    send(link, EXPIRED);
    const harness = start(new FakePing());
    const ended = harness.attach(3);
    send(ended, REQUEST);
    send(ended, EXPIRED);
    harness.proxy.close();
    send(ended, EXPIRED);
    await new Promise((resolve) => setImmediate(resolve));
    expect([...link.channel.sent, ...ended.channel.sent]).toEqual([]);
  });
});

describe("processes", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  it("64 at once, the rest is dropped; all are ended with the tunnel", async () => {
    const ping = new FakePing('case "$*" in *192.0.2.1) exec /bin/sleep 60;; esac; exit 0');
    const harness = start(ping);
    const link = harness.attach(3);
    send(link, echo({ destination: "192.0.2.2" }));
    await next(link);
    for (let i = 0; i < 70; i++) send(link, echo({ destination: "192.0.2.1", id: i }));
    await harness.observer.saw("icmpDropped 0 write_full", 6);
    expect(harness.observer.count("icmpRequest")).toBe(71);
    harness.proxy.close();
    // Whoever is not answered until then never is.
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(link.channel.sent).toEqual([]);
  });
});
