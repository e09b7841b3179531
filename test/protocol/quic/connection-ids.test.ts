/** RFC 9000 §§ 5.1, 19.15, 19.16, and CVE-2024-22189, CVE-2024-1410. */
import { describe, expect, it } from "vitest";
import { LocalIds, RemoteIds } from "../../../src/protocol/quic/connection-ids.ts";
import { TransportError, TransportErrorCode } from "../../../src/protocol/quic/errors.ts";
import { FrameWriter } from "../../../src/protocol/quic/frame-writer.ts";
import { MAX_LOCAL_IDS, MAX_UNACKED_RETIREMENTS } from "../../../src/protocol/quic/limits.ts";

const id = (n: number): Buffer => Buffer.from(`id${n.toString().padStart(6, "0")}`);
const token = (n: number): Buffer => Buffer.alloc(16, n);

function codeOf(run: () => unknown): number {
  try {
    run();
  } catch (error) {
    if (error instanceof TransportError) return error.transportCode;
    throw error;
  }
  return 0;
}

function writer(): FrameWriter {
  const made = new FrameWriter(Buffer.alloc(1000));
  made.begin(0, 1000);
  return made;
}

describe("ids that we issue", () => {
  const make = (peerLimit: number) => {
    const log: string[] = [];
    let next = 1;
    const ids = new LocalIds(
      { sequence: 0, id: id(0), resetToken: token(0) },
      { issue: () => ({ id: id(next), resetToken: token(next++) }), retired: (gone) => log.push(gone.toString()) },
    );
    ids.issueUpTo(peerLimit);
    return { ids, log };
  };
  const flush = (ids: LocalIds): number[] => {
    const sequences: number[] = [];
    const out = writer();
    while (ids.hasPending) sequences.push(ids.write(out));
    return sequences;
  };

  it("are as many as the peer keeps, within our bound", () => {
    expect(flush(make(2).ids)).toEqual([1]);
    expect(flush(make(1000).ids)).toHaveLength(MAX_LOCAL_IDS - 1);
  });

  it("are replaced when the peer retires one; a late retirement changes nothing", () => {
    const { ids, log } = make(3);
    expect(flush(ids)).toEqual([1, 2]);
    ids.onRetire(0, id(1), 3);
    expect(log).toEqual([id(0).toString()]);
    expect(flush(ids)).toEqual([3]);
    ids.onRetire(0, id(1), 3);
    expect(ids.active.map((one) => one.sequence)).toEqual([1, 2, 3]);
  });

  it("are sent again when lost, unless they were retired meanwhile", () => {
    const { ids } = make(3);
    flush(ids);
    ids.onLost(1);
    expect(flush(ids)).toEqual([1]);
    ids.onRetire(2, id(0), 3);
    ids.onLost(2);
    expect(flush(ids)).toEqual([3]);
  });

  it("refuse retirements of what was never issued, of the id in use, of an id without bytes", () => {
    const { ids } = make(3);
    expect(codeOf(() => ids.onRetire(3, id(0), 3))).toBe(TransportErrorCode.PROTOCOL_VIOLATION);
    expect(codeOf(() => ids.onRetire(1, id(1), 3))).toBe(TransportErrorCode.PROTOCOL_VIOLATION);
    const none = new LocalIds({ sequence: 0, id: Buffer.alloc(0), resetToken: token(0) }, undefined);
    none.issueUpTo(8);
    expect(none.hasPending).toBe(false);
    expect(none.write(writer())).toBe(-1);
    expect(codeOf(() => none.onRetire(0, Buffer.alloc(0), 8))).toBe(TransportErrorCode.PROTOCOL_VIOLATION);
  });
});

describe("ids that the peer issues", () => {
  const flush = (ids: RemoteIds): number[] => {
    const sequences: number[] = [];
    const out = writer();
    while (ids.hasPending) sequences.push(ids.write(out));
    return sequences;
  };

  it("are kept, and taken when the peer retires those before", () => {
    const ids = new RemoteIds(id(0), 4);
    ids.onNew(1, 0, id(1), token(1));
    expect(ids.current).toEqual(id(0));
    ids.onNew(2, 1, id(2), token(2));
    expect(ids.current).toEqual(id(1));
    expect(flush(ids)).toEqual([0]);
    expect([...ids.resetTokens()]).toEqual([token(1), token(2)]);
  });

  it("that come late, below what was retired, are retired at once", () => {
    const ids = new RemoteIds(id(0), 4);
    ids.onNew(3, 3, id(3), token(3));
    expect(flush(ids)).toEqual([0]);
    ids.onNew(1, 0, id(1), token(1));
    expect(flush(ids)).toEqual([1]);
    expect(ids.current).toEqual(id(3));
  });

  it("may come twice, but not changed", () => {
    const ids = new RemoteIds(id(0), 4);
    ids.onNew(1, 0, id(1), token(1));
    ids.onNew(1, 0, id(1), token(1));
    expect(codeOf(() => ids.onNew(1, 0, id(2), token(1)))).toBe(TransportErrorCode.PROTOCOL_VIOLATION);
    expect(codeOf(() => ids.onNew(1, 0, id(1), token(2)))).toBe(TransportErrorCode.PROTOCOL_VIOLATION);
    expect(codeOf(() => ids.onNew(2, 0, id(1), token(1)))).toBe(TransportErrorCode.PROTOCOL_VIOLATION);
  });

  it("are no more than what we announced: CONNECTION_ID_LIMIT_ERROR", () => {
    const ids = new RemoteIds(id(0), 4);
    for (let n = 1; n <= 3; n++) ids.onNew(n, 0, id(n), token(n));
    expect(codeOf(() => ids.onNew(4, 0, id(4), token(4)))).toBe(TransportErrorCode.CONNECTION_ID_LIMIT_ERROR);
  });

  it("don't come from a peer whose id has no bytes, nor retire themselves", () => {
    const ids = new RemoteIds(Buffer.alloc(0), 4);
    expect(codeOf(() => ids.onNew(1, 0, id(1), token(1)))).toBe(TransportErrorCode.PROTOCOL_VIOLATION);
    expect(codeOf(() => new RemoteIds(id(0), 4).onNew(1, 2, id(1), token(1)))).toBe(
      TransportErrorCode.FRAME_ENCODING_ERROR,
    );
  });

  it("can't make us queue retirements without end (CVE-2024-22189)", () => {
    const ids = new RemoteIds(id(0), 4);
    const flood = codeOf(() => {
      for (let n = 1; n < 10_000; n++) {
        ids.onNew(n, n, id(n), token(1));
        // Sent, but never acknowledged.
        flush(ids);
        expect(n).toBeLessThanOrEqual(MAX_UNACKED_RETIREMENTS);
      }
    });
    expect(flood).toBe(TransportErrorCode.CONNECTION_ID_LIMIT_ERROR);

    const honest = new RemoteIds(id(0), 4);
    for (let n = 1; n < 1000; n++) {
      honest.onNew(n, n, id(n), token(1));
      expect(flush(honest)).toEqual([n - 1]);
      honest.onAcked(1);
    }
  });

  it("are retired again when the frame was lost", () => {
    const ids = new RemoteIds(id(0), 4);
    ids.onNew(1, 1, id(1), token(1));
    expect(flush(ids)).toEqual([0]);
    ids.onLost(0);
    expect(flush(ids)).toEqual([0]);
  });

  it("begin with the one of the handshake, and the token of the parameters", () => {
    const ids = new RemoteIds(id(9), 4);
    ids.replaceFirst(id(0));
    expect(ids.current).toEqual(id(0));
    expect([...ids.resetTokens()]).toEqual([]);
    ids.setFirstResetToken(token(5));
    expect([...ids.resetTokens()]).toEqual([token(5)]);
  });
});
