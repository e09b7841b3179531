/** A small DNS server on loopback, over UDP and over TLS: an encoder of its own, so that a mistake of ours is not made twice. */
import { createSocket } from "node:dgram";
import { createServer } from "node:tls";
import { createAuthority } from "../../src/mock-edge/ca.ts";
import type { DotServer } from "../../src/edge/dot.ts";

export type Zone = Readonly<Record<string, readonly Rdata[]>>;

export type Rdata =
  | { readonly type: "A" | "AAAA"; readonly bytes: readonly number[] }
  | { readonly type: "TXT"; readonly texts: readonly string[] }
  | {
      readonly type: "SRV";
      readonly priority: number;
      readonly weight: number;
      readonly port: number;
      readonly target: string;
    };

const CODES = { A: 1, TXT: 16, AAAA: 28, SRV: 33 } as const;

function nameBytes(name: string): Buffer {
  return Buffer.concat([
    ...name.split(".").map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`, "latin1")),
    Buffer.alloc(1),
  ]);
}

function words(...values: number[]): Buffer {
  return Buffer.from(values.flatMap((value) => [value >> 8, value & 0xff]));
}

function rdataBytes(data: Rdata): Buffer {
  switch (data.type) {
    case "A":
    case "AAAA":
      return Buffer.from(data.bytes);
    case "TXT":
      return Buffer.concat(
        data.texts.map((text) => Buffer.from(`${String.fromCharCode(text.length)}${text}`, "latin1")),
      );
    default:
      return Buffer.concat([words(data.priority, data.weight, data.port), nameBytes(data.target)]);
  }
}

/** The answer to a query; the name in lower case, an unknown one is NXDOMAIN. */
export function answerOf(zone: Zone, query: Buffer): { reply: Buffer; question: string } {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString("latin1", at + 1, at + 1 + length));
    at += 1 + length;
  }
  const type = query.readUInt16BE(at + 1);
  const name = labels.join(".").toLowerCase();
  const records = zone[name];
  const answers = (records ?? []).filter((record) => CODES[record.type] === type);
  const header = Buffer.concat([
    query.subarray(0, 2),
    words(records === undefined ? 0x8183 : 0x8180, 1, answers.length, 0, 0),
  ]);
  const bodies = answers.map((data) => {
    const rdata = rdataBytes(data);
    // The name is a pointer to the question's.
    return Buffer.concat([words(0xc00c, type, 1, 0, 60, rdata.length), rdata]);
  });
  const typeName = Object.entries(CODES).find(([, code]) => code === type)?.[0] ?? String(type);
  return { reply: Buffer.concat([header, query.subarray(12, at + 5), ...bodies]), question: `${typeName} ${name}` };
}

export interface DnsServer extends AsyncDisposable {
  /** `ip:port` for `Resolver.setServers`. */
  readonly udp: string;
  readonly tls: DotServer;
  /** What was asked, as in `SRV a.test`. */
  readonly asked: string[];
}

export async function startDns(zone: Zone): Promise<DnsServer> {
  const asked: string[] = [];
  const answer = (query: Buffer): Buffer => {
    const { question, reply } = answerOf(zone, query);
    asked.push(question);
    return reply;
  };
  const udp = createSocket("udp4");
  udp.on("message", (query, from) => udp.send(answer(query), from.port, from.address));
  await new Promise<void>((resolve) => udp.bind(0, "127.0.0.1", resolve));
  const authority = createAuthority();
  const leaf = authority.issue({ dnsNames: ["dns.test"] });
  const tls = createServer({ key: leaf.keyPem, cert: leaf.certPem }, (socket) => {
    socket.on("error", () => socket.destroy());
    socket.once("data", (query: Buffer) => {
      const reply = answer(query.subarray(2));
      socket.end(Buffer.concat([words(reply.length), reply]));
    });
  });
  await new Promise<void>((resolve) => tls.listen(0, "127.0.0.1", resolve));
  const address = tls.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    udp: `127.0.0.1:${udp.address().port}`,
    tls: { host: "127.0.0.1", port, servername: "dns.test", ca: authority.certPem },
    asked,
    async [Symbol.asyncDispose]() {
      await Promise.all([
        new Promise<void>((resolve) => udp.close(resolve)),
        new Promise((resolve) => tls.close(resolve)),
      ]);
    },
  };
}
