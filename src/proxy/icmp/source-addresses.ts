/** This machine's addresses, from which it says as a router that a TTL was used up (ingress § 8.5). */
import dgram from "node:dgram";
import { networkInterfaces } from "node:os";
import { addressBytes } from "../../protocol/bytes/ip-address.ts";
import { SOURCE_REFRESH_MS } from "./limits.ts";

export interface SourceAddresses {
  readonly v4: Buffer;
  readonly v6: Buffer;
}

/** No packet goes there; connecting a socket asks for the route. cloudflared's choice. */
const ROUTE_TO = { host: "192.168.0.1", port: 53 } as const;

/** The address of the interface over which private networks are reached; undefined when there is no route. */
function routedAddress(): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = dgram.createSocket("udp4");
    const settle = (address: string | undefined): void => {
      socket.removeAllListeners("error");
      // It may be told of an error while it closes.
      socket.on("error", () => undefined);
      socket.close();
      resolve(address);
    };
    socket.on("error", () => settle(undefined));
    // Called with an error, too, when there is no route.
    socket.connect(ROUTE_TO.port, ROUTE_TO.host, () => {
      let address: string | undefined;
      try {
        address = socket.address().address;
      } catch {
        // It is not bound: there was an error.
      }
      settle(address);
    });
  });
}

function isUsable(address: string): boolean {
  return !/^fe[89ab]/i.test(address) && address !== "::1";
}

/** Of the interface that has `v4`, else of any other; not a link-local one where there is a better one. */
export function ipv6Beside(v4: string | undefined, interfaces = networkInterfaces()): string {
  const all = Object.values(interfaces).map((addresses) => addresses ?? []);
  const beside = all.filter((addresses) => addresses.some(({ address }) => address === v4)).flat();
  const candidates = [...beside, ...all.flat()].filter(({ family }) => family === "IPv6");
  const best = candidates.find(({ address }) => isUsable(address)) ?? candidates[0];
  return best?.address ?? "::";
}

function bytesOf(address: string | undefined, unspecified: string): Buffer {
  return addressBytes((address ?? "").replace(/%.*$/, "")) ?? addressBytes(unspecified) ?? Buffer.alloc(0);
}

async function discover(): Promise<SourceAddresses> {
  const v4 = await routedAddress();
  let v6: string | undefined;
  try {
    v6 = ipv6Beside(v4);
  } catch {
    // A system that does not let its interfaces be seen.
  }
  return { v4: bytesOf(v4, "0.0.0.0"), v6: bytesOf(v6, "::") };
}

/** Remembers them for a while. */
export class SourceAddressFinder {
  readonly #v4: Buffer | undefined;
  readonly #v6: Buffer | undefined;
  #found: Promise<SourceAddresses> | undefined;
  #foundAt = 0;

  /** IP addresses that the owner has set; of the wrong family, or none, they don't count. */
  constructor({ v4, v6 }: { readonly v4: string | undefined; readonly v6: string | undefined }) {
    const bytes4 = addressBytes(v4 ?? "");
    const bytes6 = addressBytes((v6 ?? "").replace(/%.*$/, ""));
    this.#v4 = bytes4?.length === 4 ? bytes4 : undefined;
    this.#v6 = bytes6?.length === 16 ? bytes6 : undefined;
  }

  /** Never rejects. */
  async find(): Promise<SourceAddresses> {
    if (this.#v4 !== undefined && this.#v6 !== undefined) return { v4: this.#v4, v6: this.#v6 };
    const now = performance.now();
    if (this.#found === undefined || now - this.#foundAt >= SOURCE_REFRESH_MS) {
      this.#foundAt = now;
      this.#found = discover();
    }
    const { v4, v6 } = await this.#found;
    return { v4: this.#v4 ?? v4, v6: this.#v6 ?? v6 };
  }
}
