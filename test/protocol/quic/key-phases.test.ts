/** Key updates (RFC 9001 § 6): both sides, lost and late packets, abuse, and the limits of AEADs. */
import { describe, expect, it } from "vitest";
import { TransportError, transportErrorName } from "../../../src/protocol/quic/errors.ts";
import { KeyPhases } from "../../../src/protocol/quic/key-phases.ts";
import { type SuiteParameters, SUITES } from "../../../src/protocol/quic/protection.ts";

const PTO3 = 300;
const SUITE: SuiteParameters = SUITES.TLS_AES_128_GCM_SHA256;

/** Two ends that share their secrets; packets are kept until they are delivered. */
function pair(suite: SuiteParameters = SUITE): { readonly a: End; readonly b: End } {
  const secrets = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)] as const;
  return { a: new End(suite, secrets[0], secrets[1]), b: new End(suite, secrets[1], secrets[0]) };
}

interface Packet {
  readonly number: number;
  readonly phase: number;
  readonly bytes: Buffer;
}

class End {
  readonly keys: KeyPhases;
  next = 0;

  constructor(suite: SuiteParameters, send: Buffer, receive: Buffer) {
    this.keys = new KeyPhases(suite);
    this.keys.installSend(send);
    this.keys.installReceive(receive);
  }

  send(): Packet {
    const number = this.next++;
    const bytes = Buffer.alloc(1 + 1 + 16);
    this.keys.seal(number, bytes, 0, 1, 2);
    return { number, phase: this.keys.phase, bytes };
  }

  /** Whether it opened. */
  receive(packet: Packet, phase = packet.phase): boolean {
    return this.keys.open(packet.number, phase, packet.bytes, 0, 1, packet.bytes.length) !== undefined;
  }
}

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof TransportError) return transportErrorName(error.transportCode);
    throw error;
  }
  return "none";
}

/** Packets both ways, all acknowledged. */
function exchange(one: End, other: End): void {
  expect(other.receive(one.send())).toBe(true);
  one.keys.onAck(one.next - 1);
  expect(one.receive(other.send())).toBe(true);
  other.keys.onAck(other.next - 1);
}

function settle(one: End, other: End, now: number): void {
  exchange(one, other);
  for (const end of [one, other]) {
    end.keys.expire(now, PTO3);
    end.keys.expire(now + PTO3, PTO3);
  }
}

describe("key update", () => {
  it("follows a peer whose very first packet is under new keys already, as aioquic sends it", () => {
    const { a, b } = pair();
    // The server's HANDSHAKE_DONE itself, for one: its handshake was confirmed before.
    b.receive(a.send());
    a.keys.onAck(0);
    expect(a.keys.update()).toBe(true);
    a.next = 1;
    const fresh = new End(SUITE, Buffer.alloc(32, 2), Buffer.alloc(32, 1));
    expect(fresh.receive(a.send())).toBe(true);
    expect(fresh.keys.generation).toBe(1);
  });

  it("by us, followed by the peer, again and again", () => {
    const { a, b } = pair();
    settle(a, b, 0);
    for (let generation = 1; generation <= 5; generation++) {
      const [one, other] = generation % 2 === 0 ? [a, b] : [b, a];
      expect(one.keys.update()).toBe(true);
      expect(one.keys.phase).toBe(generation & 1);
      settle(one, other, generation * 1000);
      expect([a.keys.generation, b.keys.generation]).toEqual([generation, generation]);
    }
  });

  it("waits until the last one has arrived, and old packets have left the network", () => {
    const { a, b } = pair();
    // Nothing of the first phase is acknowledged.
    expect(a.keys.update()).toBe(false);
    settle(a, b, 0);
    expect(a.keys.update()).toBe(true);
    expect(a.keys.update()).toBe(false);
    exchange(a, b);
    // Acknowledged; but the previous keys are still kept.
    expect(a.keys.update()).toBe(false);
    a.keys.expire(1000, PTO3);
    a.keys.expire(1000 + PTO3 - 1, PTO3);
    expect(a.keys.update()).toBe(false);
    a.keys.expire(1000 + PTO3, PTO3);
    expect(a.keys.update()).toBe(true);
  });

  it("opens packets from before the update that come late, for 3 PTO", () => {
    const { a, b } = pair();
    settle(a, b, 0);
    const late = [a.send(), a.send()] as const;
    a.keys.update();
    exchange(a, b);
    expect(b.receive(late[0])).toBe(true);
    b.keys.expire(0, PTO3);
    b.keys.expire(PTO3, PTO3);
    expect(b.receive(late[1])).toBe(false);
    exchange(a, b);
  });

  it("by both at once is one update", () => {
    const { a, b } = pair();
    settle(a, b, 0);
    a.keys.update();
    b.keys.update();
    exchange(a, b);
    expect([a.keys.generation, b.keys.generation]).toEqual([1, 1]);
  });

  it("the initiator opens old packets until the peer follows", () => {
    const { a, b } = pair();
    settle(a, b, 0);
    a.keys.update();
    const old = b.send();
    expect(a.receive(old)).toBe(true);
    a.keys.expire(0, PTO3);
    a.keys.expire(1e9, PTO3);
    expect(a.receive(b.send())).toBe(true);
  });

  it("can't be forged: a flipped phase bit opens nothing and changes nothing", () => {
    const { a, b } = pair();
    settle(a, b, 0);
    const packet = a.send();
    expect(b.receive(packet, 1)).toBe(false);
    expect(b.keys.generation).toBe(0);
    expect(b.receive(packet)).toBe(true);
  });
});

describe("key update abuse is KEY_UPDATE_ERROR", () => {
  it("two updates without waiting for us", () => {
    const { a, b } = pair();
    settle(a, b, 0);
    a.keys.update();
    expect(b.receive(a.send())).toBe(true);
    // A peer that does not wait: made to believe that all arrived.
    a.keys.onAck(a.next - 1);
    const third = new End(SUITE, Buffer.alloc(32, 1), Buffer.alloc(32, 2));
    settleGenerations(third, 2);
    third.next = a.next;
    expect(codeOf(() => b.receive(third.send()))).toBe("KEY_UPDATE_ERROR");
  });

  it("back to old keys", () => {
    const { a, b } = pair();
    settle(a, b, 0);
    const cheat = new End(SUITE, Buffer.alloc(32, 1), Buffer.alloc(32, 2));
    a.keys.update();
    exchange(a, b);
    cheat.next = a.next;
    expect(codeOf(() => b.receive(cheat.send()))).toBe("KEY_UPDATE_ERROR");
  });

  it("old keys that acknowledge a packet under new ones", () => {
    const { a, b } = pair();
    settle(a, b, 0);
    const old = b.send();
    a.keys.update();
    a.send();
    expect(a.receive(old)).toBe(true);
    expect(codeOf(() => a.keys.onAck(a.next - 1))).toBe("KEY_UPDATE_ERROR");
    expect(codeOf(() => a.keys.onAck(0))).toBe("none");
  });
});

/** Moves an end's keys on by itself. */
function settleGenerations(end: End, generations: number): void {
  const other = new End(SUITE, Buffer.alloc(32, 2), Buffer.alloc(32, 1));
  settle(end, other, 0);
  for (let n = 0; n < generations; n++) {
    end.keys.update();
    settle(end, other, (n + 1) * 1000);
  }
}

describe("limits of AEADs (RFC 9001 § 6.6) are AEAD_LIMIT_REACHED", () => {
  it("packets sealed under one key; an update begins anew", () => {
    const { a, b } = pair({ ...SUITE, confidentialityLimit: 10 });
    settle(a, b, 0);
    for (let n = 1; n < 10; n++) a.send();
    expect(a.keys.sealed).toBe(10);
    expect(codeOf(() => a.send())).toBe("AEAD_LIMIT_REACHED");
    a.keys.update();
    expect(codeOf(() => a.send())).toBe("none");
  });

  it("packets that did not open, under all keys together", () => {
    const { a, b } = pair({ ...SUITE, integrityLimit: 3 });
    settle(a, b, 0);
    const packet = a.send();
    packet.bytes.fill(0);
    expect(codeOf(() => b.receive(packet))).toBe("none");
    expect(codeOf(() => b.receive(packet, 1))).toBe("none");
    expect(codeOf(() => b.receive(packet))).toBe("none");
    expect(codeOf(() => b.receive(packet))).toBe("AEAD_LIMIT_REACHED");
  });

  it("are those of the RFC", () => {
    const limits = Object.entries(SUITES).map(([name, { confidentialityLimit, integrityLimit }]) => [
      name,
      Math.log2(confidentialityLimit),
      Math.log2(integrityLimit),
    ]);
    expect(limits).toEqual([
      ["TLS_AES_128_GCM_SHA256", 23, 52],
      ["TLS_AES_256_GCM_SHA384", 23, 52],
      ["TLS_CHACHA20_POLY1305_SHA256", 52, 36],
    ]);
  });
});

describe("which key a packet is opened with", () => {
  it("by its phase bit and its number, before, during and after an update", () => {
    const lines: string[] = [];
    const describeTry = (state: string, b: () => End, make: () => Packet): void => {
      const packet = make();
      for (const phase of [0, 1]) {
        const end = b();
        const before = end.keys.generation;
        const opened = end.receive(packet, phase);
        lines.push(
          `${state}, bit ${phase}: ${opened ? "opens" : "drops"}, generation ${before} -> ${end.keys.generation}`,
        );
      }
    };
    const fresh = (): { a: End; b: End } => {
      const made = pair();
      settle(made.a, made.b, 0);
      return made;
    };
    describeTry(
      "no update, packet of 0",
      () => fresh().b,
      () => fresh().a.send(),
    );
    describeTry(
      "no update, packet of 1",
      () => fresh().b,
      () => {
        const { a } = fresh();
        a.keys.update();
        return a.send();
      },
    );
    const updated = (retained: boolean): End => {
      const { a, b } = fresh();
      a.send();
      a.keys.update();
      exchange(a, b);
      if (!retained) {
        b.keys.expire(0, PTO3);
        b.keys.expire(PTO3, PTO3);
      }
      return b;
    };
    const late = (): Packet => fresh().a.send();
    describeTry("updated, late packet of 0", () => updated(true), late);
    describeTry("updated and settled, late packet of 0", () => updated(false), late);
    expect(lines.join("\n")).toMatchInlineSnapshot(`
      "no update, packet of 0, bit 0: opens, generation 0 -> 0
      no update, packet of 0, bit 1: drops, generation 0 -> 0
      no update, packet of 1, bit 0: drops, generation 0 -> 0
      no update, packet of 1, bit 1: opens, generation 0 -> 1
      updated, late packet of 0, bit 0: opens, generation 1 -> 1
      updated, late packet of 0, bit 1: drops, generation 1 -> 1
      updated and settled, late packet of 0, bit 0: drops, generation 1 -> 1
      updated and settled, late packet of 0, bit 1: drops, generation 1 -> 1"
    `);
  });
});
