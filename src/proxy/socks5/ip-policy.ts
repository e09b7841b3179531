/** Where clients of `socks-proxy` may connect to (ingress § 5.6): the first rule that fits decides, and without one nothing is allowed. */
import { addressBytes, unmapped } from "../../protocol/bytes/ip-address.ts";
import type { IpRule } from "../../types.ts";

interface Prefix {
  readonly bytes: Buffer;
  /** In bits. */
  readonly length: number;
  readonly ports: readonly number[];
  readonly allow: boolean;
}

const MAPPED_BITS = 96;

/** A prefix of IPv4 addresses in IPv6 form is one of IPv4 addresses. */
function prefixOf({ allow, ports, prefix }: IpRule): Prefix {
  const slash = prefix.indexOf("/");
  const bytes = addressBytes(prefix.slice(0, slash)) ?? Buffer.alloc(0);
  const length = Number(prefix.slice(slash + 1));
  const plain = length >= MAPPED_BITS ? unmapped(bytes) : bytes;
  return { bytes: plain, length: plain === bytes ? length : length - MAPPED_BITS, ports, allow };
}

function contains(prefix: Prefix, address: Buffer): boolean {
  if (prefix.bytes.length !== address.length) return false;
  const whole = prefix.length >>> 3;
  if (!prefix.bytes.subarray(0, whole).equals(address.subarray(0, whole))) return false;
  const shift = 8 - (prefix.length & 7);
  return shift === 8 || (prefix.bytes[whole] ?? 0) >>> shift === (address[whole] ?? 0) >>> shift;
}

/** What addresses begin with that end with an IPv4 address: IPv4-compatible ones (RFC 4291 § 2.5.5.1), and NAT64's (RFC 6052 § 2.1). */
const EMBEDDING = ["000000000000000000000000", "0064ff9b0000000000000000"].map((prefix) => Buffer.from(prefix, "hex"));

/** The IPv4 address that packets for `address` may end at; undefined where there is none. */
function embedded(address: Buffer): Buffer | undefined {
  const start = address.length === 16 ? address.subarray(0, 12) : undefined;
  return start !== undefined && EMBEDDING.some((prefix) => prefix.equals(start)) ? address.subarray(12) : undefined;
}

/** 0.0.0.0 and :: name no host; the kernel takes them for this machine, which rules about 127.0.0.1 are meant to cover. */
function isUnspecified(address: Buffer): boolean {
  return address.every((byte) => byte === 0);
}

export class IpPolicy {
  readonly #prefixes: readonly Prefix[];

  constructor(rules: readonly IpRule[]) {
    this.#prefixes = rules.map(prefixOf);
  }

  /** Else there is nothing to look at. */
  get allowsAnything(): boolean {
    return this.#prefixes.some(({ allow }) => allow);
  }

  /**
   * `address` is an IP. IPv4 in IPv6 form is IPv4, or a rule about the one could be passed by with the other; where the network
   * may translate an IPv6 address to IPv4, what forbids that one forbids both.
   */
  allows(address: string, port: number): boolean {
    const text = addressBytes(address);
    if (text === undefined) return false;
    const bytes = unmapped(text);
    if (isUnspecified(bytes) || this.#verdict(bytes, port) !== true) return false;
    const inner = embedded(bytes);
    return inner === undefined || (!isUnspecified(inner) && this.#verdict(inner, port) !== false);
  }

  /** Undefined where no rule fits. */
  #verdict(address: Buffer, port: number): boolean | undefined {
    return this.#prefixes.find(
      (prefix) => (prefix.ports.length === 0 || prefix.ports.includes(port)) && contains(prefix, address),
    )?.allow;
  }
}
