import { describe, expect, it } from "vitest";
import { CryptoStream } from "../../../src/protocol/quic/crypto-stream.ts";
import { FrameWriter } from "../../../src/protocol/quic/frame-writer.ts";
import { MAX_CRYPTO_BUFFER } from "../../../src/protocol/quic/limits.ts";
import { SentFrames } from "../../../src/protocol/quic/streams/sent-frames.ts";

function send(stream: CryptoStream, size: number): SentFrames {
  const writer = new FrameWriter(Buffer.alloc(size));
  writer.begin(0, size);
  const sent = new SentFrames();
  stream.writeFrames(writer, sent);
  return sent;
}

function ranges(stream: CryptoStream, size: number): [number, number][] {
  const result: [number, number][] = [];
  while (stream.pending) {
    const sent = send(stream, size);
    result.push([sent.cryptoOffset, sent.cryptoEnd]);
  }
  return result;
}

describe("a CRYPTO stream", () => {
  it("delivers in order, once, whatever the frames' order", () => {
    const stream = new CryptoStream();
    const got: string[] = [];
    const deliver = (chunk: Buffer): void => void got.push(chunk.toString());
    stream.receive(4, Buffer.from("ef"), deliver);
    stream.receive(2, Buffer.from("cd"), deliver);
    expect(got).toEqual([]);
    stream.receive(0, Buffer.from("abc"), deliver);
    stream.receive(0, Buffer.from("abcdef"), deliver);
    stream.receive(5, Buffer.from("fgh"), deliver);
    expect(got.join("")).toBe("abcdefgh");
  });

  it("is bounded: a message far ahead of a gap, and many pieces, end with CRYPTO_BUFFER_EXCEEDED", () => {
    const deliver = (): void => {};
    const stream = new CryptoStream();
    stream.receive(1, Buffer.alloc(MAX_CRYPTO_BUFFER - 1), deliver);
    expect(() => stream.receive(MAX_CRYPTO_BUFFER, Buffer.alloc(1), deliver)).toThrow(/CRYPTO_BUFFER_EXCEEDED/);
    const pieces = new CryptoStream();
    expect(() => {
      for (let i = 1; i < 1000; i++) pieces.receive(2 * i, Buffer.alloc(1), deliver);
    }).toThrow(/CRYPTO_BUFFER_EXCEEDED/);
  });

  it("sends in frames that fit, and again what was lost and nothing else", () => {
    const stream = new CryptoStream();
    stream.write(Buffer.alloc(250, 1));
    stream.write(Buffer.alloc(50, 2));
    expect(send(stream, 103)).toMatchObject({ cryptoOffset: 0, cryptoEnd: 99 });
    const second = send(stream, 103);
    const third = send(stream, 103);
    expect([second.cryptoOffset, second.cryptoEnd, third.cryptoOffset, third.cryptoEnd]).toEqual([99, 197, 197, 295]);
    stream.onFramesLost(second);
    expect(ranges(stream, 60)).toEqual([
      [99, 155],
      [155, 197],
      [295, 300],
    ]);
    stream.onFramesAcked(third);
    stream.onFramesLost(third);
    expect(stream.pending).toBe(false);
    stream.resendAll();
    expect(ranges(stream, 2000)).toEqual([
      [0, 197],
      [295, 300],
    ]);
  });

  it("carries the bytes that were written", () => {
    const stream = new CryptoStream();
    const bytes = Buffer.from(Array.from({ length: 9000 }, (_, i) => i % 251));
    for (let i = 0; i < bytes.length; i += 7) stream.write(bytes.subarray(i, i + 7));
    const writer = new FrameWriter(Buffer.alloc(1000));
    const parts: Buffer[] = [];
    while (stream.pending) {
      writer.begin(0, 1000);
      const sent = new SentFrames();
      stream.writeFrames(writer, sent);
      const length = sent.cryptoEnd - sent.cryptoOffset;
      parts.push(Buffer.from(writer.buffer.subarray(writer.at - length, writer.at)));
      stream.onFramesAcked(sent);
    }
    expect(Buffer.concat(parts).equals(bytes)).toBe(true);
  });
});
