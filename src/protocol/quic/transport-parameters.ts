/**
 * Transport parameters (RFC 9000 §§ 7.4, 18, RFC 9221 § 3), the TLS extension 0x39: a sequence of
 *
 *   id (i) | length (i) | value
 *
 * Most values are one varint; ids that are not known are skipped (§ 7.4.2).
 */
import { TransportError, TransportErrorCode } from "./errors.ts";
import type { Role } from "./frames.ts";
import { MAX_CONNECTION_ID_LENGTH, MIN_DATAGRAM_SIZE, STATELESS_RESET_TOKEN_LENGTH } from "./limits.ts";
import { MAX_VARINT, OVERSIZED, readVarint, varintLength, varintSize, writeVarint } from "./varint.ts";

export interface TransportParameters {
  /** The destination id of the client's first Initial; from servers only. */
  readonly originalDestinationConnectionId: Buffer | undefined;
  /** The source id of this side's first Initial. */
  readonly initialSourceConnectionId: Buffer | undefined;
  /** The source id of the Retry; from servers that sent one. */
  readonly retrySourceConnectionId: Buffer | undefined;
  readonly statelessResetToken: Buffer | undefined;
  /** Milliseconds; 0 = none. */
  readonly maxIdleTimeout: number;
  readonly maxUdpPayloadSize: number;
  readonly initialMaxData: number;
  /** For streams that the sender of the parameters opens. */
  readonly initialMaxStreamDataBidiLocal: number;
  /** For streams that their receiver opens. */
  readonly initialMaxStreamDataBidiRemote: number;
  readonly initialMaxStreamDataUni: number;
  readonly initialMaxStreamsBidi: number;
  readonly initialMaxStreamsUni: number;
  readonly ackDelayExponent: number;
  /** Milliseconds. */
  readonly maxAckDelay: number;
  readonly disableActiveMigration: boolean;
  readonly activeConnectionIdLimit: number;
  /** The largest DATAGRAM frame taken; 0 = none. */
  readonly maxDatagramFrameSize: number;
}

/** What is in force where a parameter is absent (§ 18.2). */
export const DEFAULT_TRANSPORT_PARAMETERS: TransportParameters = {
  originalDestinationConnectionId: undefined,
  initialSourceConnectionId: undefined,
  retrySourceConnectionId: undefined,
  statelessResetToken: undefined,
  maxIdleTimeout: 0,
  maxUdpPayloadSize: 65_527,
  initialMaxData: 0,
  initialMaxStreamDataBidiLocal: 0,
  initialMaxStreamDataBidiRemote: 0,
  initialMaxStreamDataUni: 0,
  initialMaxStreamsBidi: 0,
  initialMaxStreamsUni: 0,
  ackDelayExponent: 3,
  maxAckDelay: 25,
  disableActiveMigration: false,
  activeConnectionIdLimit: 2,
  maxDatagramFrameSize: 0,
};

type Mutable = { -readonly [name in keyof TransportParameters]: TransportParameters[name] };
type NumberName = { [name in keyof Mutable]: Mutable[name] extends number ? name : never }[keyof Mutable];
type BytesName = { [name in keyof Mutable]: Mutable[name] extends Buffer | undefined ? name : never }[keyof Mutable];

interface NumberParameter {
  readonly id: number;
  readonly name: NumberName;
  readonly min: number;
  readonly max: number;
}

/** What may be above MAX_VARINT is a limit that we then can't reach. */
const NUMBERS: readonly NumberParameter[] = [
  { id: 0x01, name: "maxIdleTimeout", min: 0, max: MAX_VARINT },
  { id: 0x03, name: "maxUdpPayloadSize", min: MIN_DATAGRAM_SIZE, max: MAX_VARINT },
  { id: 0x04, name: "initialMaxData", min: 0, max: MAX_VARINT },
  { id: 0x05, name: "initialMaxStreamDataBidiLocal", min: 0, max: MAX_VARINT },
  { id: 0x06, name: "initialMaxStreamDataBidiRemote", min: 0, max: MAX_VARINT },
  { id: 0x07, name: "initialMaxStreamDataUni", min: 0, max: MAX_VARINT },
  { id: 0x08, name: "initialMaxStreamsBidi", min: 0, max: MAX_VARINT },
  { id: 0x09, name: "initialMaxStreamsUni", min: 0, max: MAX_VARINT },
  { id: 0x0a, name: "ackDelayExponent", min: 0, max: 20 },
  { id: 0x0b, name: "maxAckDelay", min: 0, max: 2 ** 14 - 1 },
  { id: 0x0e, name: "activeConnectionIdLimit", min: 2, max: MAX_VARINT },
  { id: 0x20, name: "maxDatagramFrameSize", min: 0, max: MAX_VARINT },
];
const NUMBER_BY_ID = new Map(NUMBERS.map((parameter) => [parameter.id, parameter]));

interface BytesParameter {
  readonly id: number;
  readonly name: BytesName;
  readonly minLength: number;
  readonly maxLength: number;
  /** Clients must not send it. */
  readonly serverOnly: boolean;
}

const MAX_ID = MAX_CONNECTION_ID_LENGTH;
const TOKEN = STATELESS_RESET_TOKEN_LENGTH;
const BYTES: readonly BytesParameter[] = [
  { id: 0x00, name: "originalDestinationConnectionId", minLength: 0, maxLength: MAX_ID, serverOnly: true },
  { id: 0x02, name: "statelessResetToken", minLength: TOKEN, maxLength: TOKEN, serverOnly: true },
  { id: 0x0f, name: "initialSourceConnectionId", minLength: 0, maxLength: MAX_ID, serverOnly: false },
  { id: 0x10, name: "retrySourceConnectionId", minLength: 0, maxLength: MAX_ID, serverOnly: true },
];
const BYTES_BY_ID = new Map(BYTES.map((parameter) => [parameter.id, parameter]));

const DISABLE_ACTIVE_MIGRATION = 0x0c;
const PREFERRED_ADDRESS = 0x0d;
/** IPv4 and IPv6 with a port each stand before the connection id in preferred_address. */
const ADDRESSES_LENGTH = 24;
const STREAMS_IDS: readonly number[] = [0x08, 0x09];

function parameterError(reason: string): TransportError {
  return new TransportError(TransportErrorCode.TRANSPORT_PARAMETER_ERROR, reason);
}

/** A reserved parameter (§ 18.1), so that peers keep skipping what they don't know. */
function writeReserved(random: (length: number) => Buffer): Buffer {
  const noise = random(8);
  const value = noise.subarray(2, 2 + ((noise[1] as number) % 7));
  const id = 31 * (noise[0] as number) + 27;
  const bytes = Buffer.alloc(16);
  let at = writeVarint(bytes, 0, id);
  at = writeVarint(bytes, at, value.length);
  return bytes.subarray(0, at + value.copy(bytes, at));
}

export function encodeTransportParameters(parameters: TransportParameters, random: (length: number) => Buffer): Buffer {
  const parts: Buffer[] = [];
  for (const { id, name } of NUMBERS) {
    const value = parameters[name];
    if (value === DEFAULT_TRANSPORT_PARAMETERS[name]) continue;
    const bytes = Buffer.alloc(2 + varintSize(value));
    bytes[0] = id;
    bytes[1] = varintSize(value);
    writeVarint(bytes, 2, value);
    parts.push(bytes);
  }
  for (const { id, name } of BYTES) {
    const value = parameters[name];
    if (value !== undefined) parts.push(Buffer.of(id, value.length), value);
  }
  if (parameters.disableActiveMigration) parts.push(Buffer.of(DISABLE_ACTIVE_MIGRATION, 0));
  parts.push(writeReserved(random));
  return Buffer.concat(parts);
}

function readNumber(parameter: NumberParameter, value: Buffer): number {
  const { id, name, min, max } = parameter;
  const number = readVarint(value, 0, value.length);
  if (value.length === 0 || varintLength(value[0] as number) !== value.length) {
    throw parameterError(`${name} is not one number`);
  }
  if (number === OVERSIZED) {
    if (max < MAX_VARINT) throw parameterError(`${name} is out of range`);
    const high = value.readUInt32BE(0) & 0x3fff_ffff;
    const above = high > 2 ** 28 || (high === 2 ** 28 && value.readUInt32BE(4) > 0);
    if (STREAMS_IDS.includes(id) && above) throw parameterError(`${name} is above 2^60`);
    return MAX_VARINT;
  }
  if (number < min || number > max) throw parameterError(`${name} is out of range`);
  return number;
}

function readBytes(parameter: BytesParameter, value: Buffer, from: Role): Buffer {
  const { name, minLength, maxLength, serverOnly } = parameter;
  if (serverOnly && from === "client") throw parameterError(`a client sent ${name}`);
  if (value.length < minLength || value.length > maxLength) throw parameterError(`${name} has ${value.length} bytes`);
  return Buffer.from(value);
}

/** We don't migrate to it; it must make sense all the same (§ 18.2). */
function checkPreferredAddress(value: Buffer, from: Role): void {
  if (from === "client") throw parameterError("a client sent preferred_address");
  const idLength = value[ADDRESSES_LENGTH] ?? 0;
  const right = value.length === ADDRESSES_LENGTH + 1 + idLength + TOKEN;
  if (!right || idLength === 0 || idLength > MAX_ID) throw parameterError("preferred_address is malformed");
}

/** Cuts the sequence into `[id, value]`; ids above what we count are MAX_VARINT. */
function* split(bytes: Buffer): Generator<readonly [id: number, value: Buffer]> {
  let at = 0;
  const number = (): number => {
    const value = readVarint(bytes, at, bytes.length);
    if (value < 0 && value !== OVERSIZED) throw parameterError("the parameters end within one");
    at += varintLength(bytes[at] as number);
    return value === OVERSIZED ? MAX_VARINT : value;
  };
  while (at < bytes.length) {
    const id = number();
    const length = number();
    if (length > bytes.length - at) throw parameterError("the parameters end within one");
    yield [id, bytes.subarray(at, at + length)];
    at += length;
  }
}

/** Reads and checks what the peer, which is a `from`, sent. Throws TRANSPORT_PARAMETER_ERROR. */
export function decodeTransportParameters(bytes: Buffer, from: Role): TransportParameters {
  const result: Mutable = { ...DEFAULT_TRANSPORT_PARAMETERS };
  const seen = new Set<number>();
  for (const [id, value] of split(bytes)) {
    if (seen.has(id)) throw parameterError("a parameter stands twice");
    // Ids that no number holds are all unknown ones; they may differ.
    if (id !== MAX_VARINT) seen.add(id);
    const number = NUMBER_BY_ID.get(id);
    const field = BYTES_BY_ID.get(id);
    if (number !== undefined) result[number.name] = readNumber(number, value);
    else if (field !== undefined) result[field.name] = readBytes(field, value, from);
    else if (id === PREFERRED_ADDRESS) checkPreferredAddress(value, from);
    else if (id === DISABLE_ACTIVE_MIGRATION) {
      if (value.length > 0) throw parameterError("disable_active_migration has a value");
      result.disableActiveMigration = true;
    }
  }
  return result;
}

/** The connection ids that the handshake was made with. `retrySource` is that of the Retry, where there was one. */
export interface HandshakeIds {
  readonly originalDestination: Buffer;
  readonly peerInitialSource: Buffer;
  readonly retrySource: Buffer | undefined;
}

function differs(id: Buffer | undefined, expected: Buffer | undefined): boolean {
  if (id === undefined || expected === undefined) return id !== expected;
  return !id.equals(expected);
}

/** Whether the peer saw the same ids as we did: else someone on the way changed a header (RFC 9000 § 7.3). */
export function checkHandshakeIds(parameters: TransportParameters, from: Role, ids: HandshakeIds): void {
  if (differs(parameters.initialSourceConnectionId, ids.peerInitialSource)) {
    throw parameterError("initial_source_connection_id is absent, or not that of the packets");
  }
  if (from === "client") return;
  if (differs(parameters.originalDestinationConnectionId, ids.originalDestination)) {
    throw parameterError("original_destination_connection_id is absent, or not what we sent");
  }
  if (differs(parameters.retrySourceConnectionId, ids.retrySource)) {
    throw parameterError("retry_source_connection_id does not fit the Retry");
  }
}
