/** RFC 9113 § 6.8: a server that is about to go asks for no new streams, and still takes those that are on their way. */
import { describe, expect, it } from "vitest";
import { ErrorCode } from "../../../src/protocol/http2/types.ts";
import { get, rawServer, Type } from "./raw.ts";

describe("the notice before a GOAWAY", () => {
  it("excludes no stream, and refuses none", () => {
    const server = rawServer();
    server.send(get(1));
    server.connection.noticeGoaway();
    const frames = server.send(get(3));
    const goaway = frames.find(({ type }) => type === Type.GOAWAY);
    expect(goaway?.payload.readUInt32BE(0)).toBe(0x7fffffff);
    expect(goaway?.payload.readUInt32BE(4)).toBe(ErrorCode.NO_ERROR);
    expect(frames.some(({ type }) => type === Type.RST_STREAM)).toBe(false);
    expect(server.heads).toHaveLength(2);
  });

  it("is followed by the GOAWAY that names the last stream", () => {
    const server = rawServer();
    server.connection.noticeGoaway();
    server.send(get(1));
    server.connection.goaway(ErrorCode.NO_ERROR);
    const frames = server.send(get(3));
    expect(frames.find(({ type }) => type === Type.GOAWAY)?.payload.readUInt32BE(0)).toBe(1);
    expect(frames.find(({ type }) => type === Type.RST_STREAM)?.payload.readUInt32BE(0)).toBe(ErrorCode.REFUSED_STREAM);
    expect(server.heads).toHaveLength(1);
    // Nothing is taken back after it.
    server.connection.noticeGoaway();
    expect(server.send(get(5)).some(({ type }) => type === Type.GOAWAY)).toBe(false);
  });
});
