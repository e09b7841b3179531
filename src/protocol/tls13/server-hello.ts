/**
 * ServerHello, and HelloRetryRequest, which is one with a random of its own (RFC 8446 §§ 4.1.3, 4.1.4):
 *
 *   version 16 | random 32 | session id, echoed: empty | suite 16 | compression 8 | extensions
 */
import { ByteReader } from "./byte-reader.ts";
import { handshakeMessage, u16, vector } from "./byte-writer.ts";
import { Extension, LEGACY_VERSION, MessageType, TLS_1_3 } from "./code-points.ts";
import { Alert, TlsAlertError } from "./errors.ts";
import {
  expectOnly,
  extension,
  type Extensions,
  type KeyShareEntry,
  keyShareEntry,
  readCookie,
  readExtensions,
  readKeyShare,
  requiredExtension,
  SELECTED_VERSION,
} from "./extensions.ts";

export type ServerHello =
  | { readonly kind: "hello"; readonly suite: number; readonly share: KeyShareEntry }
  | {
      readonly kind: "retry";
      readonly suite: number;
      readonly group: number | undefined;
      readonly cookie: Buffer | undefined;
    };

/** The SHA-256 of "HelloRetryRequest". */
const RETRY_RANDOM = Buffer.from("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c", "hex");

/** The end of the random of a server that could speak TLS 1.3 and was talked out of it: "DOWNGRD" and 1 or 0. */
const DOWNGRADE = Buffer.from("DOWNGRD");

export function writeServerHello(random: Buffer, suite: number, share: KeyShareEntry): Buffer {
  return write(random, suite, extension(Extension.keyShare, keyShareEntry(share.group, share.bytes)));
}

export function writeHelloRetryRequest(suite: number, group: number, cookie: Buffer): Buffer {
  const chosen = extension(Extension.keyShare, u16(group));
  return write(RETRY_RANDOM, suite, Buffer.concat([chosen, extension(Extension.cookie, vector(2, cookie))]));
}

function write(random: Buffer, suite: number, extensions: Buffer): Buffer {
  return handshakeMessage(
    MessageType.serverHello,
    u16(LEGACY_VERSION),
    random,
    vector(1),
    u16(suite),
    Buffer.of(0),
    vector(2, SELECTED_VERSION, extensions),
  );
}

export function readServerHello(body: Buffer): ServerHello {
  const reader = new ByteReader(body, "ServerHello");
  const version = reader.u16();
  const random = reader.bytes(32);
  const sessionId = reader.vector(1);
  const suite = reader.u16();
  const compression = reader.u8();
  const isRetry = random.equals(RETRY_RANDOM);
  const what = isRetry ? "HelloRetryRequest" : "ServerHello";
  const extensions: Extensions = reader.atEnd ? new Map() : readExtensions(reader, what);
  reader.end();
  expectTls13(version, random, extensions);
  if (sessionId.length > 0 || compression !== 0) {
    throw new TlsAlertError(Alert.illegalParameter, `${what} has a session id or a compression that nobody offered`);
  }
  if (isRetry) {
    expectOnly(extensions, [Extension.supportedVersions, Extension.keyShare, Extension.cookie], what);
    return { kind: "retry", suite, ...readRetry(extensions) };
  }
  expectOnly(extensions, [Extension.supportedVersions, Extension.keyShare], what);
  const shareReader = new ByteReader(requiredExtension(extensions, Extension.keyShare, what), "key_share");
  const share = readKeyShare(shareReader);
  shareReader.end();
  return { kind: "hello", suite, share };
}

function readRetry(extensions: Extensions): { group: number | undefined; cookie: Buffer | undefined } {
  let group: number | undefined;
  const share = extensions.get(Extension.keyShare);
  if (share !== undefined) {
    const reader = new ByteReader(share, "key_share");
    group = reader.u16();
    reader.end();
  }
  const cookie = extensions.get(Extension.cookie);
  return { group, cookie: cookie === undefined ? undefined : readCookie(cookie) };
}

function expectTls13(version: number, random: Buffer, extensions: Extensions): void {
  const selected = extensions.get(Extension.supportedVersions);
  if (selected === undefined) {
    if (random.subarray(24, 31).equals(DOWNGRADE)) {
      throw new TlsAlertError(Alert.illegalParameter, "the handshake was downgraded: the server can speak TLS 1.3");
    }
    throw new TlsAlertError(Alert.protocolVersion, "the server chose a version below TLS 1.3");
  }
  const reader = new ByteReader(selected, "supported_versions");
  const chosen = reader.u16();
  reader.end();
  if (chosen !== TLS_1_3 || version !== LEGACY_VERSION) {
    throw new TlsAlertError(Alert.illegalParameter, "the server chose a version that was not offered");
  }
}
