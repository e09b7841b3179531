/**
 * IPv4 addresses for networks with IPv6 alone (RFC 7050, RFC 6052): the network's NAT64 has a prefix, in which they are written.
 *
 *   bits  0        32  40  48  56  64  72  80  88  96      128
 *   /32   [prefix ][   v4         ][0][ suffix             ]
 *   /40   [prefix     ][ v4       ][0][v4 ][ suffix        ]
 *   /48   [prefix         ][ v4   ][0][v4     ][ suffix    ]
 *   /56   [prefix             ][v4][0][v4         ][ suffix]
 *   /64   [prefix                 ][0][ v4            ][   ]
 *   /96   [prefix                              ][ v4       ]
 */
import { addressBytes } from "../protocol/bytes/ip-address.ts";
import type { EdgeAddress } from "../types.ts";

/** Has A records alone; AAAA records of it are made up by DNS64 (RFC 7050 § 2.2). */
export const IPV4_ONLY_HOST = "ipv4only.arpa";
const IPV4_ONLY_ADDRESSES = [
  [192, 0, 0, 170],
  [192, 0, 0, 171],
];

/** In bits, in the order in which RFC 7050 § 3 looks for them. */
const PREFIX_LENGTHS = [96, 64, 56, 48, 40, 32] as const;
/** Must be zero (RFC 6052 § 2.2): where the IPv4 address would lie there, it goes on behind. */
const RESERVED_BYTE = 8;

export interface Nat64Prefix {
  readonly bytes: Buffer;
  /** In bits. */
  readonly length: (typeof PREFIX_LENGTHS)[number];
}

/** Where the four bytes of the IPv4 address stand. */
function positions(length: number): readonly number[] {
  const start = length / 8;
  const skips = length < 96;
  return [0, 1, 2, 3].map((i) => (skips && start + i >= RESERVED_BYTE ? start + i + 1 : start + i));
}

/** The prefix with which ipv4only.arpa was given this address; undefined for one that holds neither of its addresses. */
export function nat64PrefixOf(address: string): Nat64Prefix | undefined {
  const bytes = addressBytes(address);
  if (bytes?.length !== 16) return undefined;
  for (const length of PREFIX_LENGTHS) {
    if (length < 96 && bytes[RESERVED_BYTE] !== 0) continue;
    const embedded = positions(length).map((at) => bytes[at]);
    if (IPV4_ONLY_ADDRESSES.some((known) => known.every((byte, i) => byte === embedded[i]))) {
      return { bytes: bytes.subarray(0, length / 8), length };
    }
  }
  return undefined;
}

/** The prefixes behind the answers for ipv4only.arpa, each once. */
export function nat64Prefixes(addresses: readonly string[]): readonly Nat64Prefix[] {
  const found = new Map<string, Nat64Prefix>();
  for (const address of addresses) {
    const prefix = nat64PrefixOf(address);
    if (prefix !== undefined) found.set(`${prefix.bytes.toString("hex")}/${prefix.length}`, prefix);
  }
  return [...found.values()];
}

/** The IPv6 address under which a NAT64 reaches an IPv4 address (RFC 6052 § 2.2). */
export function synthesize({ bytes, length }: Nat64Prefix, ipv4: string): string {
  const address = Buffer.alloc(16);
  bytes.copy(address);
  const embedded = addressBytes(ipv4) ?? Buffer.alloc(4);
  positions(length).forEach((at, i) => {
    address[at] = embedded[i] ?? 0;
  });
  const groups = Array.from({ length: 8 }, (_, i) => address.readUInt16BE(i * 2).toString(16));
  // A URL writes IPv6 addresses as RFC 5952 does.
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}

/** Regions that have IPv4 addresses alone get them in IPv6 form too; the others need no help. */
export function withNat64(
  regions: readonly (readonly EdgeAddress[])[],
  prefixes: readonly Nat64Prefix[],
): readonly (readonly EdgeAddress[])[] {
  return regions.map((addresses) => {
    if (addresses.some(({ family }) => family === 6)) return addresses;
    const made = prefixes.flatMap((prefix) =>
      addresses.map(({ ip, port }): EdgeAddress => ({ ip: synthesize(prefix, ip), port, family: 6 })),
    );
    return [...addresses, ...made];
  });
}
