/**
 * Datagrams, version 2 (wire § 6). What they are stands at the end, so that a payload need not be moved:
 *
 *     0  UDP       payload │ session id (16) │ 00             both ways
 *     1  IP        IP packet │ 01                             both ways
 *     2  traced IP IP packet │ trace identity (25) │ 02       to the connector
 *     3  spans     OTLP spans │ trace identity (25) │ 03      to the edge
 */
import { DatagramError } from "./errors.ts";
import { MAX_ICMP_PACKET_BYTES, MAX_UDP_PAYLOAD_BYTES } from "./limits.ts";
import { readSessionId, SESSION_ID_BYTES, writeSessionId } from "./session-id.ts";

const TYPE_UDP = 0;
const TYPE_IP = 1;
const TYPE_TRACED_IP = 2;
const TYPE_SPANS = 3;

/** Trace id (16), span id (8), flags (1). */
const TRACE_IDENTITY_BYTES = 25;

/** The parts are views on the datagram. */
export type DatagramV2 =
  | { readonly kind: "udp"; readonly sessionId: string; readonly payload: Buffer }
  | { readonly kind: "ip"; readonly packet: Buffer; readonly traceIdentity: Buffer | undefined }
  | { readonly kind: "spans"; readonly spans: Buffer; readonly traceIdentity: Buffer }
  | { readonly kind: "malformed"; readonly reason: string };

function malformed(reason: string): DatagramV2 {
  return { kind: "malformed", reason };
}

/** Never throws. */
export function readDatagramV2(datagram: Buffer): DatagramV2 {
  if (datagram.length === 0) return malformed("it is empty");
  const end = datagram.length - 1;
  const type = datagram[end];
  switch (type) {
    case TYPE_UDP: {
      const at = end - SESSION_ID_BYTES;
      if (at < 0) return malformed("it is too short for a session id");
      return { kind: "udp", sessionId: readSessionId(datagram, at), payload: datagram.subarray(0, at) };
    }
    case TYPE_IP:
      return { kind: "ip", packet: datagram.subarray(0, end), traceIdentity: undefined };
    case TYPE_TRACED_IP:
    case TYPE_SPANS: {
      const at = end - TRACE_IDENTITY_BYTES;
      if (at < 0) return malformed("it is too short for a trace identity");
      const traceIdentity = datagram.subarray(at, end);
      const rest = datagram.subarray(0, at);
      return type === TYPE_SPANS
        ? { kind: "spans", spans: rest, traceIdentity }
        : { kind: "ip", packet: rest, traceIdentity };
    }
    default:
      return malformed(`its type ${type} is unknown`);
  }
}

/** Throws a DatagramError for a payload of more than 1280 bytes. */
export function writeUdpV2(sessionId: string, payload: Uint8Array): Buffer {
  const { length } = payload;
  if (length > MAX_UDP_PAYLOAD_BYTES) throw tooLong("UDP payload", length, MAX_UDP_PAYLOAD_BYTES);
  const datagram = Buffer.allocUnsafe(length + SESSION_ID_BYTES + 1);
  datagram.set(payload);
  writeSessionId(datagram, length, sessionId);
  datagram[length + SESSION_ID_BYTES] = TYPE_UDP;
  return datagram;
}

/** Throws a DatagramError for a packet of more than 1280 bytes. */
export function writePacketV2(packet: Uint8Array, traceIdentity?: Uint8Array): Buffer {
  if (packet.length > MAX_ICMP_PACKET_BYTES) throw tooLong("IP packet", packet.length, MAX_ICMP_PACKET_BYTES);
  if (traceIdentity === undefined) return Buffer.concat([packet, Buffer.of(TYPE_IP)]);
  if (traceIdentity.length !== TRACE_IDENTITY_BYTES) {
    throw new DatagramError(
      `a trace identity has ${traceIdentity.length} bytes; ${TRACE_IDENTITY_BYTES} would be right`,
    );
  }
  return Buffer.concat([packet, traceIdentity, Buffer.of(TYPE_TRACED_IP)]);
}

function tooLong(what: string, length: number, limit: number): DatagramError {
  return new DatagramError(`the ${what} has ${length} bytes; a datagram carries at most ${limit}`);
}
