/**
 * Datagrams, version 3 (wire § 7): what they are stands in front, and sessions are made by them, without RPC.
 *
 *     0  registration  00 │ flags │ port (2) │ idle seconds (2) │ request id (16) │ address (4, 16) │ payload   to the connector
 *                      flags: 1 the address is IPv6, 2 traced, 4 a payload follows
 *     1  payload       01 │ request id (16) │ payload (0 to 1280)                                               both ways
 *     2  ICMP          02 │ IP packet (1 to 1280)                                                               both ways
 *     3  response      03 │ code │ request id (16) │ text length (2) │ text                                     to the edge
 */
import { addressBytes, addressText, unmapped } from "../bytes/ip-address.ts";
import { DatagramError } from "./errors.ts";
import { MAX_ICMP_PACKET_BYTES, MAX_RESPONSE_TEXT_BYTES, MAX_UDP_PAYLOAD_BYTES } from "./limits.ts";
import { readSessionId, SESSION_ID_BYTES, writeSessionId } from "./session-id.ts";

const TYPE_REGISTRATION = 0;
const TYPE_PAYLOAD = 1;
const TYPE_ICMP = 2;
const TYPE_RESPONSE = 3;

const FLAG_IPV6 = 0x01;
const FLAG_TRACED = 0x02;
const FLAG_BUNDLED = 0x04;

const PAYLOAD_HEADER_BYTES = 1 + SESSION_ID_BYTES;
const ADDRESS_OFFSET = 6 + SESSION_ID_BYTES;
const RESPONSE_HEADER_BYTES = 2 + SESSION_ID_BYTES + 2;

/** Of a registration response. The edge knows more of them; these are what a connector answers. */
export const ResponseCode = {
  ok: 0x00,
  unreachable: 0x01,
  unableToBind: 0x02,
  tooManyFlows: 0x03,
  error: 0xff,
} as const;

export interface Registration {
  readonly requestId: string;
  /** IPv4 in IPv6 form is IPv4. */
  readonly address: string;
  readonly port: number;
  /** 0 = the connector's own. */
  readonly idleSeconds: number;
  readonly traced: boolean;
  /** The session's first payload, which came along with it. */
  readonly payload: Buffer | undefined;
}

/** The parts are views on the datagram. */
export type DatagramV3 =
  | ({ readonly kind: "registration" } & Registration)
  | { readonly kind: "payload"; readonly requestId: string; readonly payload: Buffer }
  | { readonly kind: "icmp"; readonly packet: Buffer }
  | { readonly kind: "response"; readonly requestId: string; readonly code: number; readonly text: string }
  | { readonly kind: "malformed"; readonly reason: string };

function malformed(reason: string): DatagramV3 {
  return { kind: "malformed", reason };
}

/** Never throws. */
export function readDatagramV3(datagram: Buffer): DatagramV3 {
  const type = datagram[0];
  switch (type) {
    case undefined:
      return malformed("it is empty");
    case TYPE_REGISTRATION:
      return readRegistration(datagram);
    case TYPE_PAYLOAD:
      if (datagram.length < PAYLOAD_HEADER_BYTES) return malformed("it is too short for a request id");
      if (datagram.length > PAYLOAD_HEADER_BYTES + MAX_UDP_PAYLOAD_BYTES) return malformed("its payload is too long");
      return {
        kind: "payload",
        requestId: readSessionId(datagram, 1),
        payload: datagram.subarray(PAYLOAD_HEADER_BYTES),
      };
    case TYPE_ICMP:
      if (datagram.length < 2) return malformed("it holds no packet");
      if (datagram.length > 1 + MAX_ICMP_PACKET_BYTES) return malformed("its packet is too long");
      return { kind: "icmp", packet: datagram.subarray(1) };
    case TYPE_RESPONSE:
      return readResponse(datagram);
    default:
      return malformed(`its type ${type} is unknown`);
  }
}

function readRegistration(datagram: Buffer): DatagramV3 {
  const flags = datagram[1] ?? 0;
  const headerBytes = ADDRESS_OFFSET + ((flags & FLAG_IPV6) === 0 ? 4 : 16);
  if (datagram.length < headerBytes) return malformed("its registration is cut short");
  const payload = (flags & FLAG_BUNDLED) === 0 ? undefined : datagram.subarray(headerBytes);
  if (payload !== undefined && payload.length > MAX_UDP_PAYLOAD_BYTES) return malformed("its payload is too long");
  return {
    kind: "registration",
    requestId: readSessionId(datagram, 6),
    address: addressText(unmapped(datagram.subarray(ADDRESS_OFFSET, headerBytes))),
    port: datagram.readUInt16BE(2),
    idleSeconds: datagram.readUInt16BE(4),
    traced: (flags & FLAG_TRACED) !== 0,
    // Without a byte behind the header there is none, as cloudflared reads it.
    payload: payload === undefined || payload.length === 0 ? undefined : payload,
  };
}

function readResponse(datagram: Buffer): DatagramV3 {
  if (datagram.length < RESPONSE_HEADER_BYTES) return malformed("its response is cut short");
  const textBytes = datagram.readUInt16BE(RESPONSE_HEADER_BYTES - 2);
  const end = RESPONSE_HEADER_BYTES + textBytes;
  if (textBytes > MAX_RESPONSE_TEXT_BYTES || end > datagram.length) return malformed("its text is cut short");
  return {
    kind: "response",
    requestId: readSessionId(datagram, 2),
    code: datagram.readUInt8(1),
    text: datagram.toString("utf8", RESPONSE_HEADER_BYTES, end),
  };
}

/** Throws a DatagramError for what no registration can hold. */
export function writeRegistration(registration: Registration): Buffer {
  const { idleSeconds, payload, port } = registration;
  const address = addressBytes(registration.address);
  if (address === undefined) throw new DatagramError("the address of a registration must be an IP address");
  for (const [name, value] of [["port", port] as const, ["idleSeconds", idleSeconds] as const]) {
    if (Number.isInteger(value) && value >= 0 && value <= 0xffff) continue;
    throw new DatagramError(`${name} of a registration is ${value}; a whole number from 0 to 65535 would be right`);
  }
  const flags =
    (address.length === 16 ? FLAG_IPV6 : 0) |
    (registration.traced ? FLAG_TRACED : 0) |
    (payload === undefined ? 0 : FLAG_BUNDLED);
  const header = Buffer.alloc(ADDRESS_OFFSET);
  header[0] = TYPE_REGISTRATION;
  header[1] = flags;
  header.writeUInt16BE(port, 2);
  header.writeUInt16BE(idleSeconds, 4);
  writeSessionId(header, 6, registration.requestId);
  return Buffer.concat([header, address, payload === undefined ? Buffer.alloc(0) : withinLimit(payload)]);
}

/** Throws a DatagramError for a payload of more than 1280 bytes. */
export function writePayloadV3(requestId: string, payload: Uint8Array): Buffer {
  const datagram = Buffer.allocUnsafe(PAYLOAD_HEADER_BYTES + withinLimit(payload).length);
  datagram[0] = TYPE_PAYLOAD;
  writeSessionId(datagram, 1, requestId);
  datagram.set(payload, PAYLOAD_HEADER_BYTES);
  return datagram;
}

/** Throws a DatagramError unless the packet has 1 to 1280 bytes. */
export function writePacketV3(packet: Uint8Array): Buffer {
  if (packet.length === 0 || packet.length > MAX_ICMP_PACKET_BYTES) {
    throw new DatagramError(`the packet has ${packet.length} bytes; 1 to ${MAX_ICMP_PACKET_BYTES} would be right`);
  }
  return Buffer.concat([Buffer.of(TYPE_ICMP), packet]);
}

/** Throws a DatagramError for a text that does not fit. */
export function writeResponse(requestId: string, code: number, text = ""): Buffer {
  const textBytes = Buffer.from(text);
  if (textBytes.length > MAX_RESPONSE_TEXT_BYTES) {
    throw new DatagramError(
      `the text has ${textBytes.length} bytes; at most ${MAX_RESPONSE_TEXT_BYTES} would be right`,
    );
  }
  const header = Buffer.alloc(RESPONSE_HEADER_BYTES);
  header[0] = TYPE_RESPONSE;
  header[1] = code;
  writeSessionId(header, 2, requestId);
  header.writeUInt16BE(textBytes.length, RESPONSE_HEADER_BYTES - 2);
  return Buffer.concat([header, textBytes]);
}

function withinLimit(payload: Uint8Array): Uint8Array {
  if (payload.length <= MAX_UDP_PAYLOAD_BYTES) return payload;
  throw new DatagramError(
    `the UDP payload has ${payload.length} bytes; a datagram carries at most ${MAX_UDP_PAYLOAD_BYTES}`,
  );
}
