/** What Cloudflare's dashboard shows of the machine that a connector runs on. */
import { createSocket } from "node:dgram";
import { isIP } from "node:net";
import { hostname } from "node:os";

export interface HostDetails {
  readonly connector_id: string;
  /** The address by which this machine reaches Cloudflare. */
  readonly ip?: string;
  readonly hostname: string;
}

export async function hostDetails(connectorId: string, label: string | undefined, probe: string): Promise<HostDetails> {
  const ip = await localAddress(probe);
  return {
    connector_id: connectorId,
    ...(ip === undefined ? {} : { ip }),
    hostname: label === undefined ? hostname() : `custom:${label}`,
  };
}

/** From which address `ip:port` would be reached. A datagram socket that is connected asks the routing table, and sends nothing. */
async function localAddress(destination: string): Promise<string | undefined> {
  const [, host = "", port = ""] = /^\[?([^\]]+?)\]?:(\d+)$/.exec(destination) ?? [];
  const family = isIP(host);
  if (family === 0) return undefined;
  return await new Promise((resolve) => {
    try {
      const socket = createSocket(family === 6 ? "udp6" : "udp4");
      const done = (address: string | undefined): void => {
        socket.close();
        resolve(address);
      };
      socket.once("error", () => done(undefined));
      socket.connect(Number(port), host, () => done(socket.address().address));
    } catch {
      resolve(undefined);
    }
  });
}
