/**
 * The head of a data stream on QUIC (wire § 5.3, layouts § 9.2):
 *
 *     ConnectRequest 1/2    u16@0 type │ p0 dest Text │ p1 metadata List(Metadata)
 *     ConnectResponse 0/2   p0 error Text │ p1 metadata List(Metadata)
 *     Metadata 0/2          p0 key Text │ p1 val Text
 *
 * cloudflared puts header fields and targets into texts as they are, UTF-8 or not: dest, key and val are byte strings.
 */
import type { StructType } from "./struct-type.ts";

export const CONNECTION_TYPE_HTTP = 0;
export const CONNECTION_TYPE_WEBSOCKET = 1;
export const CONNECTION_TYPE_TCP = 2;

export interface Metadata {
  readonly key: string;
  readonly val: string;
}

export interface ConnectRequest {
  readonly dest: string;
  /** One of CONNECTION_TYPE_*; other values are for the caller to answer with an error. */
  readonly type: number;
  readonly metadata: readonly Metadata[];
}

export interface ConnectResponse {
  /** Empty when the connection was made. */
  readonly error: string;
  readonly metadata: readonly Metadata[];
}

export const metadataType: StructType<Metadata> = {
  dataWords: 0,
  pointers: 2,
  read: (struct) => ({ key: struct.byteString(0), val: struct.byteString(1) }),
  write(struct, value) {
    struct.byteString(0, value.key);
    struct.byteString(1, value.val);
  },
};

export const connectRequestType: StructType<ConnectRequest> = {
  dataWords: 1,
  pointers: 2,
  read: (struct) => ({ dest: struct.byteString(0), type: struct.uint16(0), metadata: struct.array(1, metadataType) }),
  write(struct, value) {
    struct.byteString(0, value.dest);
    struct.uint16(0, value.type);
    struct.array(1, metadataType, value.metadata);
  },
};

export const connectResponseType: StructType<ConnectResponse> = {
  dataWords: 0,
  pointers: 2,
  read: (struct) => ({ error: struct.text(0), metadata: struct.array(1, metadataType) }),
  write(struct, value) {
    struct.text(0, value.error);
    struct.array(1, metadataType, value.metadata);
  },
};
