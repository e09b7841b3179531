/** The messages behind ServerHello (RFC 8446 §§ 4.3, 4.4, 4.6.1). */
import { ByteReader } from "./byte-reader.ts";
import { handshakeMessage, u16, vector } from "./byte-writer.ts";
import { Extension, MessageType } from "./code-points.ts";
import { Alert, TlsAlertError } from "./errors.ts";
import {
  alpnExtension,
  expectOnly,
  extension,
  type Extensions,
  readExtensions,
  readU16List,
  requiredExtension,
} from "./extensions.ts";
import { MAX_CHAIN_CERTIFICATES } from "./limits.ts";

/** EncryptedExtensions = extensions. */
export function writeEncryptedExtensions(alpn: string, transportParameters: Buffer): Buffer {
  const parameters = extension(Extension.quicTransportParameters, transportParameters);
  return handshakeMessage(MessageType.encryptedExtensions, vector(2, alpnExtension([alpn]), parameters));
}

export function readEncryptedExtensions(body: Buffer): Extensions {
  const reader = new ByteReader(body, "EncryptedExtensions");
  const extensions = readExtensions(reader, "EncryptedExtensions");
  reader.end();
  // RFC 6066 § 3: that the name was used, and no more.
  if ((extensions.get(Extension.serverName)?.length ?? 0) > 0) {
    throw new TlsAlertError(Alert.decodeError, "EncryptedExtensions has a server_name that is not empty");
  }
  const groups = extensions.get(Extension.supportedGroups);
  if (groups !== undefined) readU16List(groups, 2, "supported_groups");
  return extensions;
}

/** Certificate = context 8.. | list, length 24, of (DER, length 24 | extensions). */
export function writeCertificate(context: Buffer, chain: readonly Buffer[]): Buffer {
  const entries = chain.map((der) => Buffer.concat([vector(3, der), vector(2)]));
  return handshakeMessage(MessageType.certificate, vector(1, context), vector(3, ...entries));
}

/** The server's: at least one, the leaf first. */
export function readCertificate(body: Buffer): Buffer[] {
  const reader = new ByteReader(body, "Certificate");
  const context = reader.vector(1);
  const list = new ByteReader(reader.vector(3), "Certificate");
  reader.end();
  if (context.length > 0) throw new TlsAlertError(Alert.illegalParameter, "Certificate answers a request of nobody");
  const chain: Buffer[] = [];
  while (!list.atEnd) {
    if (chain.length === MAX_CHAIN_CERTIFICATES) {
      throw new TlsAlertError(
        Alert.badCertificate,
        `the server sends more than ${MAX_CHAIN_CERTIFICATES} certificates`,
      );
    }
    chain.push(list.vector(3, 1));
    // We ask for none: neither OCSP nor SCT.
    expectOnly(readExtensions(list, "Certificate"), [], "Certificate");
  }
  if (chain.length === 0) throw new TlsAlertError(Alert.decodeError, "the server sends no certificate");
  return chain;
}

/** CertificateRequest = context 8.. | extensions. Returns the context. */
export function readCertificateRequest(body: Buffer): Buffer {
  const reader = new ByteReader(body, "CertificateRequest");
  const context = reader.vector(1);
  const extensions = readExtensions(reader, "CertificateRequest");
  reader.end();
  if (context.length > 0) {
    throw new TlsAlertError(Alert.illegalParameter, "CertificateRequest has a context within the handshake");
  }
  const schemes = requiredExtension(extensions, Extension.signatureAlgorithms, "CertificateRequest");
  readU16List(schemes, 2, "signature_algorithms");
  return context;
}

/** CertificateVerify = scheme 16 | signature with a length of 16. */
export function writeCertificateVerify(scheme: number, signature: Buffer): Buffer {
  return handshakeMessage(MessageType.certificateVerify, u16(scheme), vector(2, signature));
}

export function readCertificateVerify(body: Buffer): { readonly scheme: number; readonly signature: Buffer } {
  const reader = new ByteReader(body, "CertificateVerify");
  const scheme = reader.u16();
  const signature = reader.vector(2);
  reader.end();
  return { scheme, signature };
}

/** NewSessionTicket = lifetime 32 | age add 32 | nonce 8.. | ticket 16.. | extensions. We resume nothing: only its form matters. */
export function checkNewSessionTicket(body: Buffer): void {
  const reader = new ByteReader(body, "NewSessionTicket");
  reader.u32();
  reader.u32();
  reader.vector(1);
  reader.vector(2, 1);
  const extensions = readExtensions(reader, "NewSessionTicket");
  reader.end();
  const earlyData = extensions.get(Extension.earlyData);
  // RFC 9001 § 4.6.1: the only value that QUIC has.
  if (earlyData !== undefined && !(earlyData.length === 4 && earlyData.readUInt32BE() === 0xffff_ffff)) {
    throw new TlsAlertError(Alert.illegalParameter, "NewSessionTicket limits early data, which QUIC does not");
  }
}
