/**
 * How a stream begins on the QUIC transport, whose ALPN is `argotunnel` (wire §§ 5.2, 5.3):
 *
 *     data   0A 36 CD 12 A1 3E │ "01" │ ConnectRequest or ConnectResponse, framed Cap'n Proto │ payload …
 *     RPC    52 BB 82 5C DB 65 │ Cap'n Proto RPC …
 *
 * The version is read and not compared, as the reference has it. The control stream has no head at all.
 */
import { Buffer } from "node:buffer";
import { FrameSplitter } from "../capnp/frame.ts";
import { MAX_CONNECT_MESSAGE_BYTES } from "../capnp/limits.ts";
import { decodeMessage, type StructReading } from "../capnp/reader.ts";
import { encodeMessage, type StructWriting } from "../capnp/writer.ts";
import { StreamHeadError } from "./errors.ts";

const DATA_SIGNATURE = Buffer.from([0x0a, 0x36, 0xcd, 0x12, 0xa1, 0x3e]);
const VERSION = Buffer.from("01");

/** What opens an RPC stream. */
export const RPC_SIGNATURE = Buffer.from([0x52, 0xbb, 0x82, 0x5c, 0xdb, 0x65]);

const SIGNATURE_BYTES = RPC_SIGNATURE.length;
const PREFIX = Buffer.concat([DATA_SIGNATURE, VERSION]);

/** The longest head that is read. */
export const MAX_STREAM_HEAD_BYTES = PREFIX.length + MAX_CONNECT_MESSAGE_BYTES;

/** `rest` = the bytes behind the head, a view of the chunk that completed it. */
export type StreamHead<T> =
  | { readonly kind: "data"; readonly message: T; readonly rest: Buffer }
  | { readonly kind: "rpc"; readonly rest: Buffer };

/** Reads the head of one stream, whatever pieces it comes in. */
export class StreamHeadReader<T> {
  readonly #type: StructReading<T>;
  /** Signature and version as far as they have come. */
  readonly #prefix = Buffer.allocUnsafe(PREFIX.length);
  #prefixLength = 0;
  #splitter: FrameSplitter | undefined;

  constructor(type: StructReading<T>) {
    this.#type = type;
  }

  /** Undefined while the head is incomplete. Throws StreamHeadError or CapnpError, and is then of no more use. */
  receive(chunk: Buffer): StreamHead<T> | undefined {
    let at = 0;
    while (this.#prefixLength < PREFIX.length) {
      if (at === chunk.length) return undefined;
      this.#prefix[this.#prefixLength++] = chunk[at++] ?? 0;
      if (this.#prefixLength !== SIGNATURE_BYTES) continue;
      const signature = this.#prefix.subarray(0, SIGNATURE_BYTES);
      if (signature.equals(RPC_SIGNATURE)) return { kind: "rpc", rest: chunk.subarray(at) };
      if (!signature.equals(DATA_SIGNATURE)) {
        throw new StreamHeadError(`the stream begins with ${signature.toString("hex")}, which is no known signature`);
      }
    }
    if (at === chunk.length) return undefined;
    this.#splitter ??= new FrameSplitter(MAX_CONNECT_MESSAGE_BYTES);
    const { end, frame } = this.#splitter.next(chunk, at);
    if (frame === undefined) return undefined;
    return { kind: "data", message: decodeMessage(this.#type, frame), rest: chunk.subarray(end) };
  }
}

/** The head of a data stream: signature, version, message. */
export function encodeStreamHead<T>(type: StructWriting<T>, message: T): Buffer {
  return Buffer.concat([PREFIX, encodeMessage(type, message)]);
}
