/** Bytes that nobody meant: whatever comes, a handshake goes on or ends with an alert, at once; and nothing changed is ever taken for whole. */
import { generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Alert } from "../../../src/protocol/tls13/errors.ts";
import { loadMlKem } from "../../../src/protocol/tls13/ml-kem.ts";
import type { NamedGroup } from "../../../src/protocol/tls13/session.ts";
import { parseCertificate } from "../../../src/protocol/tls13/x509/certificate.ts";
import { verifyChain } from "../../../src/protocol/tls13/x509/chain.ts";
import { DerReader } from "../../../src/protocol/tls13/x509/der-reader.ts";
import { readPublicKey } from "../../../src/protocol/tls13/x509/public-key.ts";
import { trustAnchors } from "../../../src/protocol/tls13/x509/trust-anchors.ts";
import {
  AUTHORITY,
  dns,
  ecKeys,
  edKeys,
  extension,
  ip,
  issue,
  leaf,
  NAME,
  nameConstraints,
  names,
  NOW,
  root,
  rsaKeys,
  SERVER,
} from "./certificates.ts";
import {
  alertOf,
  client,
  completed,
  identity,
  INTERMEDIATE,
  LEAF,
  type Message,
  refusal,
  type Role,
  ROOTS,
  server,
  shake,
} from "./rig.ts";

const mlKem = await loadMlKem();

/** One change; the places are parts of the whole, so that they fit any message. */
type Mutation =
  | { readonly kind: "flip"; readonly at: number; readonly bit: number }
  | { readonly kind: "set"; readonly at: number; readonly value: number }
  | { readonly kind: "cut"; readonly at: number; readonly length: number }
  | { readonly kind: "insert"; readonly at: number; readonly bytes: Uint8Array }
  | { readonly kind: "copy"; readonly at: number; readonly from: number; readonly length: number };

const place = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("flip" as const), at: place, bit: fc.nat(7) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("set" as const),
      at: place,
      value: fc.constantFrom(0, 1, 0x7f, 0x80, 0xff),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("cut" as const), at: place, length: fc.integer({ min: 1, max: 40 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("insert" as const),
      at: place,
      bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("copy" as const),
      at: place,
      from: place,
      length: fc.integer({ min: 1, max: 60 }),
    }),
  },
);

function mutate(bytes: Buffer, change: Mutation): Buffer {
  const at = Math.floor(change.at * bytes.length);
  const changed = Buffer.from(bytes);
  switch (change.kind) {
    case "flip":
      changed[at] = (changed[at] ?? 0) ^ (1 << change.bit);
      return changed;
    case "set":
      changed[at] = change.value;
      return changed;
    case "cut":
      return Buffer.concat([changed.subarray(0, at), changed.subarray(at + change.length)]);
    case "insert":
      return Buffer.concat([changed.subarray(0, at), change.bytes, changed.subarray(at)]);
    case "copy": {
      const from = Math.floor(change.from * bytes.length);
      return Buffer.concat([changed.subarray(0, at), bytes.subarray(from, from + change.length), changed.subarray(at)]);
    }
    default:
      return change satisfies never;
  }
}

/** Also with a head whose length is right for what is behind it, so that the body is looked at. */
function mutateMessage(bytes: Buffer, changes: readonly Mutation[], keepHead: boolean): Buffer {
  if (!keepHead) return changes.reduce(mutate, bytes);
  const body = changes.reduce(mutate, bytes.subarray(4));
  const head = Buffer.from(bytes.subarray(0, 4));
  head.writeUIntBE(body.length & 0xffffff, 1, 3);
  return Buffer.concat([head, body]);
}

const plan = fc.record({
  changes: fc.array(mutation, { minLength: 1, maxLength: 4 }),
  keepHead: fc.boolean(),
  /** Which message is hit. */
  index: fc.nat(7),
  retry: fc.boolean(),
  hybrid: fc.boolean(),
});

describe("a handshake with messages that were changed", () => {
  it("ends with an alert, and is complete at neither end that saw it", () => {
    let refused = 0;
    fc.assert(
      fc.property(plan, ({ changes, keepHead, index, retry, hybrid }) => {
        const groups: readonly NamedGroup[] = hybrid ? ["X25519MLKEM768", "P-256"] : ["X25519", "P-256"];
        let hit: { from: Role; bytes: Buffer; changed: Buffer } | undefined;
        const meddle = (from: Role, message: Message, at: number): Message[] => {
          if (at !== index) return [message];
          const changed = mutateMessage(message.bytes, changes, keepHead);
          hit = { from, bytes: message.bytes, changed };
          return [{ level: message.level, bytes: changed }];
        };
        const outcome = shake(
          { client: client({ groups, mlKem }), server: server({ groups: retry ? ["P-256"] : groups, mlKem }) },
          meddle,
        );
        // Throws if it is anything but an alert.
        const why = refusal(outcome);
        if (hit === undefined || hit.changed.equals(hit.bytes)) {
          expect(why).toBeUndefined();
          return;
        }
        if (why !== undefined) {
          refused++;
          expect(Object.values(Alert)).toContain(why.alert);
        }
        // What a client sends last is the only thing that it can't be told was changed; the server can.
        const isLast = hit.from === "client" && hit.bytes[0] === 20;
        expect(completed(outcome.client)).toBe(isLast);
        expect(completed(outcome.server)).toBe(false);
      }),
      { numRuns: 800, seed: 8446 },
    );
    expect(refused).toBeGreaterThan(400);
  });

  it("ends with an alert when the bytes are anything", () => {
    const level = fc.constantFrom("initial" as const, "handshake" as const, "application" as const);
    const typed = fc
      .tuple(fc.constantFrom(1, 2, 4, 5, 8, 11, 13, 15, 20, 24, 254), fc.uint8Array({ maxLength: 200 }))
      .map(([type, body]) => Uint8Array.of(type, 0, body.length >>> 8, body.length & 0xff, ...body));
    const chunks = fc.array(fc.tuple(level, fc.oneof(fc.uint8Array({ maxLength: 300 }), typed)), { maxLength: 6 });
    fc.assert(
      fc.property(chunks, fc.boolean(), (list, asServer) => {
        const session = asServer ? server() : client();
        session.start();
        alertOf(() => {
          for (const [where, bytes] of list) session.receive(where, Buffer.from(bytes));
        });
      }),
      { numRuns: 1000, seed: 9001 },
    );
  });
});

describe("certificates that were changed", () => {
  const anchors = trustAnchors(ROOTS);
  const rich = root("Rich", {
    keys: rsaKeys(),
    extensions: [...AUTHORITY, nameConstraints([dns("test"), ip(10, 0, 0, 0, 255, 0, 0, 0)], [dns("evil.test")])],
  });
  const ofRich = leaf(rich, {
    keys: edKeys(),
    signature: "rsa-pss",
    extensions: [...SERVER, names(dns(NAME), ip(10, 1, 2, 3))],
  });

  it("are never taken, whatever the change", () => {
    const chains = [
      { chain: [LEAF.der, INTERMEDIATE.der], anchors },
      { chain: [ofRich.der], anchors: trustAnchors([rich.pem]) },
    ];
    fc.assert(
      fc.property(
        fc.array(mutation, { minLength: 1, maxLength: 3 }),
        fc.constantFrom(...chains),
        fc.nat(1),
        (changes, { chain, anchors: trusted }, which) => {
          const hit = chain[which % chain.length] as Buffer;
          const changed = changes.reduce(mutate, hit);
          const sent = chain.map((each) => (each === hit ? changed : each));
          const verdict = alertOf(() => verifyChain({ chain: sent, anchors: trusted, serverName: NAME, time: NOW }));
          if (changed.equals(hit)) expect(verdict).toBe("ok");
          else expect(verdict).not.toBe("ok");
        },
      ),
      { numRuns: 3000, seed: 5280 },
    );
  });

  it("have keys that are read or refused, and of which Node.js can tell (it ends the process over some)", () => {
    const spki = [
      ecKeys(),
      ecKeys("P-384"),
      edKeys(),
      rsaKeys(),
      generateKeyPairSync("rsa-pss", { modulusLength: 2048, hashAlgorithm: "sha256", mgf1HashAlgorithm: "sha256" }),
    ].map(({ publicKey }) => publicKey.export({ type: "spki", format: "der" }));
    fc.assert(
      fc.property(fc.constantFrom(...spki), fc.array(mutation, { maxLength: 3 }), (bytes, changes) => {
        const changed = changes.reduce(mutate, bytes);
        const verdict = alertOf(() => {
          const key = readPublicKey(changed);
          expect(["ec", "ed25519", "rsa", "rsa-pss"]).toContain(key.asymmetricKeyType);
          expect(key.asymmetricKeyDetails).toBeDefined();
        });
        if (changed.equals(bytes)) expect(verdict).toBe("ok");
      }),
      { numRuns: 2000, seed: 8017 },
    );
  });

  it("are read or refused when they are anything", () => {
    const tags = fc.constantFrom(
      0x01,
      0x02,
      0x03,
      0x04,
      0x05,
      0x06,
      0x0c,
      0x17,
      0x18,
      0x30,
      0x31,
      0x82,
      0x87,
      0xa0,
      0xa3,
    );
    const { value } = fc.letrec<{ value: Buffer }>((tie) => ({
      value: fc
        .tuple(
          tags,
          fc.oneof({ maxDepth: 5 }, fc.uint8Array({ maxLength: 20 }), fc.array(tie("value"), { maxLength: 5 })),
        )
        .map(([tag, content]) => {
          const bytes = Array.isArray(content) ? Buffer.concat(content) : Buffer.from(content);
          const length =
            bytes.length < 0x80 ? Buffer.of(bytes.length) : Buffer.of(0x82, bytes.length >>> 8, bytes.length & 0xff);
          return Buffer.concat([Buffer.of(tag), length, bytes]);
        }),
    }));
    fc.assert(
      fc.property(
        fc.oneof(
          value,
          fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes)),
        ),
        (bytes) => {
          alertOf(() => parseCertificate(bytes));
          const steps: ((reader: DerReader) => unknown)[] = [
            (reader) => reader.read(),
            (reader) => reader.objectIdentifier(),
            (reader) => reader.time(),
            (reader) => reader.flags(),
            (reader) => reader.boolean(false),
            (reader) => reader.smallInteger(),
          ];
          for (const step of steps) alertOf(() => step(new DerReader(bytes)));
        },
      ),
      { numRuns: 2000, seed: 690 },
    );
  });

  it("with extensions that are anything are read or refused", () => {
    const oid = fc.constantFrom("2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.30", "2.5.29.37", "1.2.3");
    const content = fc.uint8Array({ maxLength: 40 });
    fc.assert(
      fc.property(fc.array(fc.tuple(oid, fc.boolean(), content), { maxLength: 4 }), (list) => {
        const extensions = list.map(([name, critical, bytes]) => extension(name, critical, Buffer.from(bytes)));
        const own = issue({ subject: "server", issuer: INTERMEDIATE, extensions });
        const chain = [own.der, INTERMEDIATE.der];
        expect(alertOf(() => verifyChain({ chain, anchors, serverName: NAME, time: NOW }))).not.toBe("ok");
      }),
      { numRuns: 500, seed: 5 },
    );
  });

  it("and are their owner's own end in the same way", () => {
    expect(completed(shake({ client: client({ roots: [rich.pem] }), server: server(identity(ofRich)) }).server)).toBe(
      true,
    );
  });
});
