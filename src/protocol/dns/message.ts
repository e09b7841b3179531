/**
 * DNS messages (RFC 1035 § 4), as far as finding the edge needs them: one question out, SRV, A, AAAA and TXT answers in.
 *
 *   header: id (16) flags (16) question, answer, authority, additional counts (16 each)
 *   question: name, type (16), class (16)
 *   record: name, type (16), class (16), ttl (32), length (16), data
 *   name: labels, each behind its length, up to a 0; or a pointer (two high bits set) to an earlier place
 */
import { UnderpassError } from "../../errors.ts";

/** A message that RFC 1035 does not allow. */
export class DnsMessageError extends UnderpassError {
  constructor(message: string) {
    super("ERR_UNDERPASS_DNS_MESSAGE", message);
  }
}

export const RecordType = { A: 1, TXT: 16, AAAA: 28, SRV: 33 } as const;
export type RecordTypeName = keyof typeof RecordType;

export type DnsRecord =
  | { readonly type: "A" | "AAAA"; readonly name: string; readonly ttl: number; readonly address: string }
  | { readonly type: "TXT"; readonly name: string; readonly ttl: number; readonly texts: readonly string[] }
  | {
      readonly type: "SRV";
      readonly name: string;
      readonly ttl: number;
      readonly priority: number;
      readonly weight: number;
      readonly port: number;
      readonly target: string;
    };

export interface DnsResponse {
  readonly id: number;
  /** 0 = no error, 3 = no such name (RFC 1035 § 4.1.1). */
  readonly responseCode: number;
  readonly truncated: boolean;
  /** Answers of the types above; others are left out. */
  readonly answers: readonly DnsRecord[];
}

const HEADER_BYTES = 12;
const CLASS_INTERNET = 1;
const OPT = 41;
const FLAG_RESPONSE = 0x8000;
const FLAG_TRUNCATED = 0x0200;
const FLAG_RECURSION_DESIRED = 0x0100;
/** RFC 1035 § 2.3.4. */
const MAX_NAME_BYTES = 255;
const MAX_LABEL_BYTES = 63;
/** An honest name has one pointer at its end, seldom two; a loop has no end. */
const MAX_POINTERS = 16;
/** What we say that we take over UDP (EDNS0, RFC 6891); over TLS it is without meaning but usual. */
const UDP_PAYLOAD_BYTES = 1232;

function encodeName(name: string): Buffer {
  const labels = name.replace(/\.$/, "").split(".");
  const parts = labels.map((label) => {
    const bytes = Buffer.from(label, "latin1");
    if (bytes.length === 0 || bytes.length > MAX_LABEL_BYTES)
      throw new DnsMessageError(`"${name}" is not a domain name`);
    return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  });
  const encoded = Buffer.concat([...parts, Buffer.from([0])]);
  if (encoded.length > MAX_NAME_BYTES)
    throw new DnsMessageError(`the domain name is longer than ${MAX_NAME_BYTES} bytes`);
  return encoded;
}

/** A recursive query with EDNS0. `id` comes from the caller, who owns chance. */
export function encodeQuery(id: number, name: string, type: RecordTypeName): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(FLAG_RECURSION_DESIRED, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(1, 10);
  const question = Buffer.alloc(4);
  question.writeUInt16BE(RecordType[type], 0);
  question.writeUInt16BE(CLASS_INTERNET, 2);
  const options = Buffer.alloc(11);
  options.writeUInt16BE(OPT, 1);
  options.writeUInt16BE(UDP_PAYLOAD_BYTES, 3);
  return Buffer.concat([header, encodeName(name), question, options]);
}

/** A label as text (RFC 1035 § 5.1): a dot in it is no border, and nothing in it can disturb a log. */
function printable(label: string): string {
  return label.replaceAll(/[^!-~]|[.\\]/g, (char) => `\\${String(char.charCodeAt(0)).padStart(3, "0")}`);
}

/** Reads a message from its start; every step is checked against its end. */
class Cursor {
  readonly bytes: Buffer;
  at: number;

  constructor(bytes: Buffer, at: number) {
    this.bytes = bytes;
    this.at = at;
  }

  take(length: number): number {
    const from = this.at;
    if (from + length > this.bytes.length) throw new DnsMessageError("the message ends too early");
    this.at = from + length;
    return from;
  }

  uint8(): number {
    return this.bytes.readUInt8(this.take(1));
  }

  uint16(): number {
    return this.bytes.readUInt16BE(this.take(2));
  }

  uint32(): number {
    return this.bytes.readUInt32BE(this.take(4));
  }

  name(): string {
    const labels: string[] = [];
    // The 0 at the end counts too.
    let length = 1;
    let pointers = 0;
    let behind: number | undefined;
    for (;;) {
      const first = this.uint8();
      if (first === 0) break;
      if ((first & 0xc0) === 0xc0) {
        const target = ((first & 0x3f) << 8) | this.uint8();
        behind ??= this.at;
        if (++pointers > MAX_POINTERS) throw new DnsMessageError("a name has too many compression pointers");
        this.at = target;
        continue;
      }
      if (first > MAX_LABEL_BYTES) throw new DnsMessageError("a label of an unknown kind");
      length += first + 1;
      if (length > MAX_NAME_BYTES) throw new DnsMessageError(`a name is longer than ${MAX_NAME_BYTES} bytes`);
      const from = this.take(first);
      labels.push(printable(this.bytes.toString("latin1", from, this.at)));
    }
    if (behind !== undefined) this.at = behind;
    return labels.join(".");
  }
}

function addressOf(bytes: Buffer, from: number, length: number): string {
  if (length === 4) return bytes.subarray(from, from + 4).join(".");
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(from + i * 2).toString(16));
  // A URL writes IPv6 addresses as RFC 5952 does: the form that every other source of addresses has too.
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}

function textsOf(cursor: Cursor, end: number): string[] {
  const texts: string[] = [];
  while (cursor.at < end) {
    const length = cursor.uint8();
    const from = cursor.take(length);
    texts.push(cursor.bytes.toString("latin1", from, cursor.at));
  }
  return texts;
}

function readRecord(cursor: Cursor): DnsRecord | undefined {
  const name = cursor.name();
  const type = cursor.uint16();
  const dnsClass = cursor.uint16();
  const ttl = cursor.uint32();
  const length = cursor.uint16();
  const data = cursor.take(length);
  const end = cursor.at;
  if (dnsClass !== CLASS_INTERNET) return undefined;
  const inner = new Cursor(cursor.bytes.subarray(0, end), data);
  switch (type) {
    case RecordType.A:
    case RecordType.AAAA:
      if (length !== (type === RecordType.A ? 4 : 16)) throw new DnsMessageError("an address has the wrong length");
      return { type: type === RecordType.A ? "A" : "AAAA", name, ttl, address: addressOf(cursor.bytes, data, length) };
    case RecordType.TXT:
      return { type: "TXT", name, ttl, texts: textsOf(inner, end) };
    case RecordType.SRV:
      return {
        type: "SRV",
        name,
        ttl,
        priority: inner.uint16(),
        weight: inner.uint16(),
        port: inner.uint16(),
        target: inner.name(),
      };
    default:
      return undefined;
  }
}

/** Reads a response. Throws DnsMessageError. */
export function decodeResponse(bytes: Buffer): DnsResponse {
  const cursor = new Cursor(bytes, 0);
  const id = cursor.uint16();
  const flags = cursor.uint16();
  if ((flags & FLAG_RESPONSE) === 0) throw new DnsMessageError("a query came where a response was expected");
  const questions = cursor.uint16();
  const answerCount = cursor.uint16();
  cursor.take(4);
  for (let i = 0; i < questions; i++) {
    cursor.name();
    cursor.take(4);
  }
  const answers: DnsRecord[] = [];
  // The message's length bounds the loop: a record takes 11 bytes at least, whatever the count says.
  for (let i = 0; i < answerCount; i++) {
    const record = readRecord(cursor);
    if (record !== undefined) answers.push(record);
  }
  return { id, responseCode: flags & 0xf, truncated: (flags & FLAG_TRUNCATED) !== 0, answers };
}
