/** Extension = type 16 | data with a length of 16 (RFC 8446 § 4.2); a list of them stands behind a length of 16. */
import { ByteReader } from "./byte-reader.ts";
import { u16, u16List, vector } from "./byte-writer.ts";
import { Extension, TLS_1_3 } from "./code-points.ts";
import { Alert, TlsAlertError } from "./errors.ts";

/** In the order in which they came. */
export type Extensions = ReadonlyMap<number, Buffer>;

export interface KeyShareEntry {
  readonly group: number;
  readonly bytes: Buffer;
}

/** What our ClientHello may have: anything else that comes back was asked for by nobody. */
const OFFERED: ReadonlySet<number> = new Set([
  Extension.serverName,
  Extension.supportedGroups,
  Extension.signatureAlgorithms,
  Extension.alpn,
  Extension.supportedVersions,
  Extension.cookie,
  Extension.keyShare,
  Extension.quicTransportParameters,
]);

export function readExtensions(reader: ByteReader, what: string): Extensions {
  const list = new ByteReader(reader.vector(2), what);
  const extensions = new Map<number, Buffer>();
  while (!list.atEnd) {
    const type = list.u16();
    const data = list.vector(2);
    if (extensions.has(type)) {
      throw new TlsAlertError(Alert.illegalParameter, `${what} has the extension ${type} twice`);
    }
    extensions.set(type, data);
  }
  return extensions;
}

/** RFC 8446 § 4.2: an offered extension in a message where it has no place is one error, one that nobody asked for another. */
export function expectOnly(extensions: Extensions, allowed: readonly number[], what: string): void {
  for (const type of extensions.keys()) {
    if (allowed.includes(type)) continue;
    const alert = OFFERED.has(type) ? Alert.illegalParameter : Alert.unsupportedExtension;
    throw new TlsAlertError(alert, `${what} has the extension ${type}, which it must not have`);
  }
}

export function requiredExtension(extensions: Extensions, type: number, what: string): Buffer {
  const data = extensions.get(type);
  if (data === undefined) throw new TlsAlertError(Alert.missingExtension, `${what} lacks the extension ${type}`);
  return data;
}

/** Of what is one list of 16-bit numbers and nothing else. */
export function readU16List(data: Buffer, width: 1 | 2, what: string): number[] {
  const reader = new ByteReader(data, what);
  const list = reader.u16List(width);
  reader.end();
  return list;
}

/** Cookie = a vector with a length of 16 (RFC 8446 § 4.2.2). */
export function readCookie(data: Buffer): Buffer {
  const reader = new ByteReader(data, "cookie");
  const cookie = reader.vector(2, 1);
  reader.end();
  return cookie;
}

export function extension(type: number, ...data: readonly Buffer[]): Buffer {
  return Buffer.concat([u16(type), vector(2, ...data)]);
}

/** ProtocolNameList (RFC 7301 § 3.1). */
export function alpnExtension(names: readonly string[]): Buffer {
  return extension(Extension.alpn, vector(2, ...names.map((name) => vector(1, Buffer.from(name, "latin1")))));
}

export function readAlpn(data: Buffer): string[] {
  const reader = new ByteReader(data, "ALPN");
  const list = new ByteReader(reader.vector(2, 2), "ALPN");
  reader.end();
  const names: string[] = [];
  while (!list.atEnd) names.push(list.vector(1, 1).toString("latin1"));
  return names;
}

export function readKeyShare(reader: ByteReader): KeyShareEntry {
  return { group: reader.u16(), bytes: reader.vector(2, 1) };
}

/** KeyShareEntry = group 16 | share with a length of 16 (RFC 8446 § 4.2.8). */
export function keyShareEntry(group: number, bytes: Buffer): Buffer {
  return Buffer.concat([u16(group), vector(2, bytes)]);
}

export function groupsExtension(groups: readonly number[]): Buffer {
  return extension(Extension.supportedGroups, u16List(2, groups));
}

/** What a server selects; a client's is a list. */
export const SELECTED_VERSION = extension(Extension.supportedVersions, u16(TLS_1_3));
export const OFFERED_VERSIONS = extension(Extension.supportedVersions, u16List(1, [TLS_1_3]));
