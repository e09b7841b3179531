/**
 * What SessionManager's methods carry (wire § 9.2, § 9.3); spoken on QUIC only:
 *
 *     registerUdpSession params 2/3    u16@0 dstPort, i64@8 closeAfterIdleHint, ns │ p0 sessionId Data │ p1 dstIp Data │ p2 traceContext Text
 *     registerUdpSession results 0/1   p0 result RegisterUdpSessionResponse
 *     unregisterUdpSession params 0/2  p0 sessionId Data │ p1 message Text
 *     RegisterUdpSessionResponse 0/2   p0 err Text │ p1 spans Data
 */
import type { StructType } from "./struct-type.ts";

export interface RegisterUdpSessionParams {
  readonly sessionId: Uint8Array;
  /** 4 or 16 bytes. */
  readonly dstIp: Uint8Array;
  readonly dstPort: number;
  /** Nanoseconds. */
  readonly closeAfterIdleHint: bigint;
  readonly traceContext: string;
}

export interface RegisterUdpSessionResponse {
  /** Empty when the session was made. */
  readonly err: string;
  readonly spans: Uint8Array;
}

export interface RegisterUdpSessionResults {
  readonly result: RegisterUdpSessionResponse;
}

export interface UnregisterUdpSessionParams {
  readonly sessionId: Uint8Array;
  readonly message: string;
}

export const registerUdpSessionParamsType: StructType<RegisterUdpSessionParams> = {
  dataWords: 2,
  pointers: 3,
  read: (struct) => ({
    sessionId: struct.data(0),
    dstIp: struct.data(1),
    dstPort: struct.uint16(0),
    closeAfterIdleHint: struct.int64(8),
    traceContext: struct.text(2),
  }),
  write(struct, value) {
    struct.data(0, value.sessionId);
    struct.data(1, value.dstIp);
    struct.uint16(0, value.dstPort);
    struct.int64(8, value.closeAfterIdleHint);
    struct.text(2, value.traceContext);
  },
};

export const registerUdpSessionResponseType: StructType<RegisterUdpSessionResponse> = {
  dataWords: 0,
  pointers: 2,
  read: (struct) => ({ err: struct.text(0), spans: struct.data(1) }),
  write(struct, value) {
    struct.text(0, value.err);
    struct.data(1, value.spans);
  },
};

export const registerUdpSessionResultsType: StructType<RegisterUdpSessionResults> = {
  dataWords: 0,
  pointers: 1,
  read: (struct) => ({ result: registerUdpSessionResponseType.read(struct.struct(0)) }),
  write: (struct, value) => struct.struct(0, registerUdpSessionResponseType, value.result),
};

export const unregisterUdpSessionParamsType: StructType<UnregisterUdpSessionParams> = {
  dataWords: 0,
  pointers: 2,
  read: (struct) => ({ sessionId: struct.data(0), message: struct.text(1) }),
  write(struct, value) {
    struct.data(0, value.sessionId);
    struct.text(1, value.message);
  },
};
