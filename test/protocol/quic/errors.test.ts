import { describe, expect, it } from "vitest";
import {
  QuicConnectionError,
  TransportError,
  TransportErrorCode,
  transportErrorName,
} from "../../../src/protocol/quic/errors.ts";

describe("QUIC errors", () => {
  it("name the transport's code, TLS alerts included", () => {
    expect(transportErrorName(0x0a)).toBe("PROTOCOL_VIOLATION");
    expect(transportErrorName(0x130)).toBe("CRYPTO_ERROR (TLS alert 48)");
    expect(transportErrorName(0x4321)).toBe("0x4321");
    const error = new TransportError(TransportErrorCode.FINAL_SIZE_ERROR, "a stream shrank", { frameType: 8 });
    expect(error).toMatchObject({
      name: "TransportError",
      code: "ERR_UNDERPASS_QUIC_TRANSPORT",
      message: "FINAL_SIZE_ERROR: a stream shrank",
      transportCode: 6,
      frameType: 8,
    });
  });

  it("tell how a connection ended, by a code each", () => {
    const error = new QuicConnectionError("peer-application", "the peer closed", { errorCode: 7, reason: "bye" });
    expect(error).toMatchObject({
      code: "ERR_UNDERPASS_QUIC_PEER_CLOSED",
      end: "peer-application",
      errorCode: 7,
      reason: "bye",
    });
    expect(new QuicConnectionError("idle-timeout", "silence")).toMatchObject({
      code: "ERR_UNDERPASS_QUIC_IDLE_TIMEOUT",
      errorCode: undefined,
      reason: "",
    });
  });
});
