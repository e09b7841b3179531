/** DNS messages over TCP and TLS (RFC 1035 § 4.2.2, RFC 7858 § 3.3): length (16), then the message. */

const LENGTH_BYTES = 2;

export function frameMessage(message: Buffer): Buffer {
  const framed = Buffer.allocUnsafe(LENGTH_BYTES + message.length);
  framed.writeUInt16BE(message.length, 0);
  message.copy(framed, LENGTH_BYTES);
  return framed;
}

/** The first message of what has been received, or undefined until it is whole. Nothing here is larger than 65,537 bytes. */
export function unframeMessage(received: Buffer): Buffer | undefined {
  if (received.length < LENGTH_BYTES) return undefined;
  const end = LENGTH_BYTES + received.readUInt16BE(0);
  return received.length < end ? undefined : received.subarray(LENGTH_BYTES, end);
}
