/** Takes messages apart and puts them together otherwise. */
import { ByteReader } from "../../../src/protocol/tls13/byte-reader.ts";
import { handshakeMessage, u16, vector } from "../../../src/protocol/tls13/byte-writer.ts";

/** In order; one type may come twice. */
export type ExtensionList = (readonly [type: number, data: Buffer])[];

export interface HelloParts {
  version: number;
  random: Buffer;
  sessionId: Buffer;
  /** A server's one, or a client's list. */
  suites: number[];
  compression: Buffer;
  /** Undefined: not even an empty list. */
  extensions: ExtensionList | undefined;
  tail: Buffer;
}

function readList(reader: ByteReader): ExtensionList {
  const list = new ByteReader(reader.vector(2), "extensions");
  const extensions: ExtensionList = [];
  while (!list.atEnd) extensions.push([list.u16(), list.vector(2)]);
  return extensions;
}

function writeList(extensions: ExtensionList): Buffer {
  return vector(2, ...extensions.map(([type, data]) => Buffer.concat([u16(type), vector(2, data)])));
}

/** ClientHello (type 1) and ServerHello (type 2). */
export function editHello(message: Buffer, change: (parts: HelloParts) => void): Buffer {
  const isServer = message[0] === 2;
  const reader = new ByteReader(message.subarray(4), "hello");
  const parts: HelloParts = {
    version: reader.u16(),
    random: reader.bytes(32),
    sessionId: reader.vector(1),
    suites: isServer ? [reader.u16()] : reader.u16List(2),
    compression: isServer ? reader.bytes(1) : reader.vector(1),
    extensions: readList(reader),
    tail: Buffer.alloc(0),
  };
  change(parts);
  const suites = Buffer.concat(parts.suites.map(u16));
  return handshakeMessage(
    message[0] ?? 0,
    u16(parts.version),
    parts.random,
    vector(1, parts.sessionId),
    isServer ? suites : vector(2, suites),
    isServer ? parts.compression : vector(1, parts.compression),
    parts.extensions === undefined ? Buffer.alloc(0) : writeList(parts.extensions),
    parts.tail,
  );
}

export function editEncryptedExtensions(message: Buffer, change: (extensions: ExtensionList) => void): Buffer {
  const extensions = readList(new ByteReader(message.subarray(4), "EncryptedExtensions"));
  change(extensions);
  return handshakeMessage(8, writeList(extensions));
}

export function put(extensions: ExtensionList | undefined, type: number, data: Buffer | undefined): void {
  if (extensions === undefined) throw new Error("no extensions to change");
  const at = extensions.findIndex(([other]) => other === type);
  if (data === undefined) extensions.splice(at, at < 0 ? 0 : 1);
  else if (at < 0) extensions.push([type, data]);
  else extensions[at] = [type, data];
}

export function get(extensions: ExtensionList | undefined, type: number): Buffer {
  const found = extensions?.find(([other]) => other === type);
  if (found === undefined) throw new Error(`no extension ${type}`);
  return found[1];
}
