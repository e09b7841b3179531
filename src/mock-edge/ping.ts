/** A ping through the tunnel, as a user of WARP sends it (wire § 8). */
import { randomInt } from "node:crypto";
import { addressBytes, addressText } from "../protocol/bytes/ip-address.ts";
import { IcmpType, readIcmpPacket, writeIcmpPacket } from "../protocol/datagram/icmp-packet.ts";
import type { Connection } from "./connection.ts";
import { MockEdgeError } from "./visits.ts";

/** The user's address, as WARP gives them. */
const SOURCE = { 4: "100.96.0.1", 6: "2606:4700:cf1:1000::1" } as const;

const ECHO_HEADER_BYTES = 4;

export interface PingOptions {
  /** Default 64; 1 is used up at the connector, as traceroute wants it. */
  readonly ttl?: number;
  /** Default: 56 bytes. */
  readonly data?: Uint8Array;
  /** Default 5,000. */
  readonly timeoutMs?: number;
}

export interface PingAnswer {
  readonly kind: "echo-reply" | "time-exceeded";
  /** IP address that answered. */
  readonly from: string;
}

/** Rejects with MockEdgeError where no answer comes. */
export async function ping(
  connection: Connection | undefined,
  destination: string,
  options: PingOptions,
): Promise<PingAnswer> {
  const network = connection?.privateNetwork;
  if (network === undefined) throw new MockEdgeError("no connection is registered that carries ICMP: it needs QUIC");
  const to = addressBytes(destination);
  if (to === undefined) throw new MockEdgeError(`"${destination}" is no IP address`);
  const family = to.length === 4 ? 4 : 6;
  const { data = Buffer.alloc(56, "p"), timeoutMs = 5_000, ttl = 64 } = options;
  const header = Buffer.alloc(ECHO_HEADER_BYTES);
  header.writeUInt32BE(randomInt(2 ** 32));
  const rest = Buffer.concat([header, data]);
  const source = addressBytes(SOURCE[family]) ?? Buffer.alloc(to.length);
  const types = IcmpType[family];
  const request = writeIcmpPacket({ family, source, destination: to, ttl, type: types.echoRequest, code: 0, rest });
  const kindOf = (packet: Buffer): PingAnswer["kind"] | undefined => {
    const answer = readIcmpPacket(packet);
    if (answer?.type === types.echoReply && answer.rest.subarray(0, ECHO_HEADER_BYTES).equals(header))
      return "echo-reply";
    // It quotes the packet that it is about.
    return answer?.type === types.timeExceeded && answer.rest.includes(header) ? "time-exceeded" : undefined;
  };
  const answer = await network.exchangePacket(request, (packet) => kindOf(packet) !== undefined, timeoutMs);
  const from = readIcmpPacket(answer)?.source ?? Buffer.alloc(0);
  return { kind: kindOf(answer) ?? "echo-reply", from: addressText(from) };
}
