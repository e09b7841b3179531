/**
 * ClientHello (RFC 8446 § 4.1.2):
 *
 *   version 16 | random 32 | session id 0..32, empty in QUIC (RFC 9001 § 8.4) | suites | compression | extensions
 */
import { ByteReader } from "./byte-reader.ts";
import { handshakeMessage, u16, u16List, vector } from "./byte-writer.ts";
import { Extension, LEGACY_VERSION, MessageType, TLS_1_3 } from "./code-points.ts";
import { Alert, TlsAlertError } from "./errors.ts";
import {
  alpnExtension,
  extension,
  type Extensions,
  groupsExtension,
  type KeyShareEntry,
  keyShareEntry,
  OFFERED_VERSIONS,
  readAlpn,
  readCookie,
  readExtensions,
  readKeyShare,
  readU16List,
  requiredExtension,
} from "./extensions.ts";
import { OFFERED_SCHEMES } from "./signature-schemes.ts";

export interface ClientHello {
  readonly random: Buffer;
  readonly suites: readonly number[];
  readonly groups: readonly number[];
  readonly shares: readonly KeyShareEntry[];
  readonly schemes: readonly number[];
  readonly alpn: readonly string[];
  readonly transportParameters: Buffer;
  readonly cookie: Buffer | undefined;
  /** What must be the same after a HelloRetryRequest (§ 4.1.2). */
  readonly constant: Buffer;
}

export interface ClientHelloContent {
  readonly random: Buffer;
  readonly suites: readonly number[];
  readonly groups: readonly number[];
  readonly share: KeyShareEntry;
  /** Undefined for an address, which has no place in SNI (RFC 6066 § 3). */
  readonly dnsName: string | undefined;
  readonly alpn: readonly string[];
  readonly transportParameters: Buffer;
  /** Of a HelloRetryRequest. */
  readonly cookie: Buffer | undefined;
}

const WHAT = "ClientHello";
const SSL_3_0 = 0x0300;
const NO_COMPRESSION = Buffer.of(0);
/** What a second ClientHello may have otherwise. */
const VARIABLE: readonly number[] = [
  Extension.keyShare,
  Extension.cookie,
  Extension.preSharedKey,
  Extension.earlyData,
  Extension.padding,
];

export function writeClientHello(content: ClientHelloContent): Buffer {
  const { share, dnsName, cookie } = content;
  const extensions = [
    groupsExtension(content.groups),
    extension(Extension.signatureAlgorithms, u16List(2, OFFERED_SCHEMES)),
    alpnExtension(content.alpn),
    OFFERED_VERSIONS,
    extension(Extension.keyShare, vector(2, keyShareEntry(share.group, share.bytes))),
    extension(Extension.quicTransportParameters, content.transportParameters),
  ];
  // ServerNameList = type 0 | name with a length of 16.
  if (dnsName !== undefined) {
    const name = vector(2, Buffer.from(dnsName, "latin1"));
    extensions.unshift(extension(Extension.serverName, vector(2, Buffer.of(0), name)));
  }
  if (cookie !== undefined) extensions.push(extension(Extension.cookie, vector(2, cookie)));
  return handshakeMessage(
    MessageType.clientHello,
    u16(LEGACY_VERSION),
    content.random,
    vector(1),
    u16List(2, content.suites),
    vector(1, NO_COMPRESSION),
    vector(2, ...extensions),
  );
}

export function readClientHello(body: Buffer): ClientHello {
  const reader = new ByteReader(body, WHAT);
  const version = reader.u16();
  const random = reader.bytes(32);
  const sessionId = reader.vector(1);
  const suites = reader.u16List(2);
  const compression = reader.vector(1, 1);
  if (reader.atEnd) throw new TlsAlertError(Alert.protocolVersion, "ClientHello has no extensions: TLS 1.3 is wanted");
  const extensions = readExtensions(reader, WHAT);
  reader.end();
  // § 4.2.1: with supported_versions the old field says nothing, but for SSL 3.0 (App. D.5).
  if (version <= SSL_3_0 || !offersTls13(extensions)) {
    throw new TlsAlertError(Alert.protocolVersion, "the client does not offer TLS 1.3");
  }
  if (sessionId.length > 0) {
    throw new TlsAlertError(Alert.illegalParameter, "ClientHello has a session id, which must be empty in QUIC");
  }
  if (!compression.equals(NO_COMPRESSION)) {
    throw new TlsAlertError(Alert.illegalParameter, "ClientHello offers compression");
  }
  expectPreSharedKeyLast(extensions);
  const alpn = extensions.get(Extension.alpn);
  if (alpn === undefined) throw new TlsAlertError(Alert.noApplicationProtocol, "the client offers no ALPN");
  const list = (type: number): number[] =>
    readU16List(requiredExtension(extensions, type, WHAT), 2, `extension ${type}`);
  const groups = list(Extension.supportedGroups);
  const cookie = extensions.get(Extension.cookie);
  return {
    random,
    suites,
    groups,
    shares: readShares(requiredExtension(extensions, Extension.keyShare, WHAT), groups),
    schemes: list(Extension.signatureAlgorithms),
    alpn: readAlpn(alpn),
    transportParameters: Buffer.from(requiredExtension(extensions, Extension.quicTransportParameters, WHAT)),
    cookie: cookie === undefined ? undefined : readCookie(cookie),
    constant: constantPart(random, suites, extensions),
  };
}

function offersTls13(extensions: Extensions): boolean {
  const data = extensions.get(Extension.supportedVersions);
  return data !== undefined && readU16List(data, 1, "supported_versions").includes(TLS_1_3);
}

/** § 4.2.11. We resume nothing, and so ignore it otherwise. */
function expectPreSharedKeyLast(extensions: Extensions): void {
  if (!extensions.has(Extension.preSharedKey)) return;
  if ([...extensions.keys()].at(-1) !== Extension.preSharedKey) {
    throw new TlsAlertError(Alert.illegalParameter, "pre_shared_key is not the last extension of ClientHello");
  }
  requiredExtension(extensions, Extension.pskModes, WHAT);
}

/** § 4.2.8: each of an offered group, in the order of the groups, none twice. */
function readShares(data: Buffer, groups: readonly number[]): KeyShareEntry[] {
  const reader = new ByteReader(data, "key_share");
  const list = new ByteReader(reader.vector(2), "key_share");
  reader.end();
  const shares: KeyShareEntry[] = [];
  let last = -1;
  while (!list.atEnd) {
    const share = readKeyShare(list);
    const place = groups.indexOf(share.group);
    if (place <= last) {
      throw new TlsAlertError(Alert.illegalParameter, `the key share for group ${share.group} is not where it belongs`);
    }
    last = place;
    shares.push(share);
  }
  return shares;
}

function constantPart(random: Buffer, suites: readonly number[], extensions: Extensions): Buffer {
  const parts = [random, u16List(2, suites)];
  for (const [type, data] of extensions) if (!VARIABLE.includes(type)) parts.push(extension(type, data));
  return Buffer.concat(parts);
}
