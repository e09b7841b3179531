/** The DNS server by which the connector finds the edge, and which can be broken. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { answerOf, type Zone } from "../edge/dns-server.ts";

export type DnsMode = "up" | "silent" | "server-failure" | "unknown-name" | "garbage";

export interface NameServer {
  /** `ip:port`. */
  readonly address: string;
  mode: DnsMode;
  close(): Promise<void>;
}

/** The edge's hosts in two regions, under the names that Cloudflare has. */
export function zoneOf(hosts: readonly string[], port: number): Zone {
  const srv = (target: string, priority: number) => ({ type: "SRV", priority, weight: 1, port, target }) as const;
  const half = Math.ceil(hosts.length / 2);
  const addresses = (some: readonly string[]) =>
    some.map((host) => ({ type: "A", bytes: host.split(".").map(Number) }) as const);
  return {
    "_v2-origintunneld._tcp.argotunnel.com": [srv("region1.test", 1), srv("region2.test", 2)],
    "region1.test": addresses(hosts.slice(0, half)),
    "region2.test": addresses(hosts.slice(half)),
    "cfd-features.argotunnel.com": [{ type: "TXT", texts: ["{}"] }],
    "protocol-v2.argotunnel.com": [{ type: "TXT", texts: ['[{"protocol":"quic","percentage":100}]'] }],
  };
}

function replyTo(query: Buffer, zone: Zone, mode: DnsMode): Buffer | undefined {
  switch (mode) {
    case "up":
      return answerOf(zone, query).reply;
    case "unknown-name":
      return answerOf({}, query).reply;
    case "server-failure": {
      const { reply } = answerOf({}, query);
      reply.writeUInt16BE(0x8182, 2);
      return reply;
    }
    case "garbage":
      return Buffer.concat([query.subarray(0, 2), Buffer.alloc(40, 0xff)]);
    default:
      return undefined;
  }
}

export async function startNameServer(zone: Zone, mode: DnsMode): Promise<NameServer> {
  const socket = createSocket("udp4");
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  const server: NameServer = {
    address: `127.0.0.1:${socket.address().port}`,
    mode,
    close: async () => {
      socket.close();
      await once(socket, "close");
    },
  };
  socket.on("message", (query, from) => {
    const reply = replyTo(query, zone, server.mode);
    if (reply !== undefined) socket.send(reply, from.port, from.address);
  });
  return server;
}
