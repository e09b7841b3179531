/**
 * Reads DER (X.690):
 *
 *   | tag (1) | length (1, or 0x80+n and n bytes, as short as can be) | content |
 */
import { Alert, TlsAlertError } from "../errors.ts";
import { MAX_OBJECT_IDENTIFIER } from "../limits.ts";

export const Tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  sequence: 0x30,
  utcTime: 0x17,
  generalizedTime: 0x18,
} as const;

export interface DerValue {
  readonly tag: number;
  readonly content: Buffer;
  /** Tag and length too. */
  readonly raw: Buffer;
}

export function badCertificate(how: string, options?: { cause?: unknown }): TlsAlertError {
  return new TlsAlertError(Alert.badCertificate, `a certificate of the server's chain ${how}`, options);
}

const malformed = (): TlsAlertError => badCertificate("is not well-formed");

export class DerReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** The next value's tag; undefined at the end. */
  get tag(): number | undefined {
    return this.#bytes[this.#at];
  }

  read(tag?: number): DerValue {
    const bytes = this.#bytes;
    const start = this.#at;
    const found = bytes[start];
    // Tags above 30, in several bytes, stand in no certificate.
    if (found === undefined || (found & 0x1f) === 0x1f || (tag !== undefined && found !== tag)) throw malformed();
    let at = start + 2;
    let length = bytes[start + 1] ?? 0x80;
    if (length >= 0x80) {
      const width = length & 0x7f;
      if (width === 0 || width > 3 || at + width > bytes.length) throw malformed();
      length = bytes.readUIntBE(at, width);
      at += width;
      if (length < 0x80 || length < 2 ** (8 * (width - 1))) throw malformed();
    }
    if (length > bytes.length - at) throw malformed();
    this.#at = at + length;
    return { tag: found, content: bytes.subarray(at, this.#at), raw: bytes.subarray(start, this.#at) };
  }

  sequence(): DerReader {
    return new DerReader(this.read(Tag.sequence).content);
  }

  /** The next value if it has that tag. */
  optional(tag: number): DerValue | undefined {
    return this.tag === tag ? this.read(tag) : undefined;
  }

  /** BOOLEAN, with the value that stands for an absent one. */
  boolean(absent: boolean): boolean {
    const value = this.optional(Tag.boolean);
    if (value === undefined) return absent;
    const [byte] = value.content;
    if (value.content.length !== 1 || (byte !== 0 && byte !== 0xff)) throw malformed();
    return byte === 0xff;
  }

  /** A number that can't be negative, and that fits a path length. */
  smallInteger(): number {
    const { content } = this.read(Tag.integer);
    if (content.length === 0 || (content[0] ?? 0) >= 0x80) throw malformed();
    return content.length > 4 ? Number.MAX_SAFE_INTEGER : content.readUIntBE(0, content.length);
  }

  /** Its bytes, without zeros before them. */
  positiveInteger(): Buffer {
    const { content } = this.read(Tag.integer);
    const bytes = content[0] === 0 ? content.subarray(1) : content;
    if (bytes.length === 0 || bytes[0] === 0 || (content[0] ?? 0) >= 0x80) throw malformed();
    return bytes;
  }

  /** Dotted. */
  objectIdentifier(): string {
    const { content } = this.read(Tag.objectIdentifier);
    if (content.length === 0 || content.length > MAX_OBJECT_IDENTIFIER || (content.at(-1) ?? 0) >= 0x80)
      throw malformed();
    // Those that are made of a UUID have 128 bits (X.667).
    const arcs: bigint[] = [];
    let arc = 0n;
    let isFirst = true;
    for (const byte of content) {
      // A leading zero: one identifier must not have two forms.
      if (isFirst && byte === 0x80) throw malformed();
      arc = arc * 128n + BigInt(byte & 0x7f);
      isFirst = byte < 0x80;
      if (!isFirst) continue;
      arcs.push(arc);
      arc = 0n;
    }
    const [first = 0n, ...rest] = arcs;
    const root = first < 80n ? first / 40n : 2n;
    return [root, first - 40n * root, ...rest].join(".");
  }

  /** BIT STRING of at most 9 bits as a mask: bit 0 is the first. */
  flags(): number {
    const { content } = this.read(Tag.bitString);
    if (content.length === 0 || (content[0] ?? 8) > 7) throw malformed();
    let mask = 0;
    for (let bit = 0; bit < Math.min(16, (content.length - 1) * 8); bit++) {
      if (((content[1 + (bit >>> 3)] ?? 0) << (bit & 7)) & 0x80) mask |= 1 << bit;
    }
    return mask;
  }

  /** UTCTime or GeneralizedTime of RFC 5280 § 4.1.2.5, in ms since 1970. */
  time(): number {
    const { tag, content } = this.read();
    const text = content.toString("latin1");
    const pattern =
      tag === Tag.utcTime ? /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/ : /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;
    const match = tag === Tag.utcTime || tag === Tag.generalizedTime ? pattern.exec(text) : null;
    if (match === null) throw malformed();
    const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number);
    if (month < 1 || month > 12 || hour > 23 || minute > 59 || second > 59) throw malformed();
    const fullYear = tag === Tag.generalizedTime ? year : year + (year < 50 ? 2000 : 1900);
    const time = Date.UTC(fullYear, month - 1, day, hour, minute, second);
    // No 31 February; and years below 100 are not what Date takes them for.
    if (new Date(time).getUTCDate() !== day || new Date(time).getUTCFullYear() !== fullYear) throw malformed();
    return time;
  }

  end(): void {
    if (!this.atEnd) throw malformed();
  }
}
