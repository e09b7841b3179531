/**
 * What stands behind the virtual DNS address of the private network (ingress § 8.4): the resolvers of this machine, as
 * Node finds them in its configuration, or a fixed list.
 */
import { Resolver } from "node:dns";
import { UnderpassError } from "../errors.ts";
import { addressBytes } from "../protocol/bytes/ip-address.ts";
import { literalTarget } from "./literal-target.ts";
import type { OriginTarget } from "./origin-target.ts";

const VIRTUAL_ADDRESS = addressBytes("2606:4700:cf1:2000::1");
const DNS_PORT = 53;

/** How old the list may be: the machine may have moved to another network. */
const REFRESH_MS = 5 * 60_000;

const FALLBACK = `127.0.0.1:${DNS_PORT}`;

/** A new resolver reads the machine's configuration; the process-wide one did so at its start. */
function configuredServers(): readonly string[] {
  return new Resolver().getServers();
}

/** Node leaves the port away where it is 53. */
function withPort(server: string): string {
  if (literalTarget(server) !== undefined) return server;
  return server.includes(":") && !server.startsWith("[") ? `[${server}]:${DNS_PORT}` : `${server}:${DNS_PORT}`;
}

export function isVirtualDns({ address }: OriginTarget): boolean {
  if (address.kind !== "tcp" || address.port !== DNS_PORT || VIRTUAL_ADDRESS === undefined) return false;
  return addressBytes(address.host)?.equals(VIRTUAL_ADDRESS) === true;
}

/** Whether a stream goes there; `destination` is its `ip:port`. */
export function isVirtualDnsAddress(destination: string): boolean {
  const target = literalTarget(destination);
  return target !== undefined && isVirtualDns(target);
}

export class LocalResolvers {
  readonly #discover: () => readonly string[];
  readonly #isFixed: boolean;
  #targets: readonly OriginTarget[];
  #discoveredAt = Number.NEGATIVE_INFINITY;

  /** `fixed` are `ip:port`; none = what the machine has. Throws an UnderpassError when one is not that. */
  constructor(fixed: readonly string[], discover: () => readonly string[] = configuredServers) {
    this.#discover = discover;
    this.#isFixed = fixed.length > 0;
    this.#targets = fixed.map(fixedTarget);
  }

  /** In the order in which they are to be tried: a fixed list in a new one each time, which spreads the load. */
  targets(now: number): readonly OriginTarget[] {
    if (this.#isFixed) return shuffled(this.#targets);
    if (now - this.#discoveredAt >= REFRESH_MS) this.#refresh(now);
    return this.#targets;
  }

  #refresh(now: number): void {
    this.#discoveredAt = now;
    const found = this.#discover()
      .map((server) => literalTarget(withPort(server)))
      .filter((target) => target !== undefined);
    if (found.length > 0) this.#targets = found;
    else if (this.#targets.length === 0) this.#targets = [fixedTarget(FALLBACK)];
  }
}

function fixedTarget(server: string): OriginTarget {
  const target = literalTarget(server);
  if (target !== undefined) return target;
  throw new UnderpassError(
    "ERR_UNDERPASS_DNS_RESOLVER",
    `found ${JSON.stringify(server)} among dnsResolvers; ip:port such as "192.0.2.53:53" or "[2001:db8::53]:53" would be right`,
  );
}

function shuffled<T>(items: readonly T[]): readonly T[] {
  return items
    .map((item) => ({ item, order: Math.random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ item }) => item);
}
