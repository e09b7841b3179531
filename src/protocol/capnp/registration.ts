/**
 * What RegistrationServer's methods carry (wire § 9.2, § 9.3):
 *
 *     registerConnection params 1/3    u8@0 connIndex │ p0 auth │ p1 tunnelId Data │ p2 options
 *     registerConnection results 0/1   p0 result ConnectionResponse
 *     updateLocalConfiguration params 0/1   p0 config Data
 *     TunnelAuth 0/2            p0 accountTag Text │ p1 tunnelSecret Data
 *     ConnectionOptions 1/2     bit 0 replaceExisting, u8@1 compressionQuality, u8@2 numPreviousAttempts │ p0 client │ p1 originLocalIp Data
 *     ClientInfo 0/4            p0 clientId Data │ p1 features List(Text) │ p2 version Text │ p3 arch Text
 *     ConnectionResponse 1/1    u16@0 which: 0 error, 1 connectionDetails │ p0
 *     ConnectionError 2/1       i64@0 retryAfter, ns; bit 64 shouldRetry │ p0 cause Text
 *     ConnectionDetails 1/2     bit 0 tunnelIsRemotelyManaged │ p0 uuid Data │ p1 locationName Text
 */
import { malformed } from "./errors.ts";
import type { StructType } from "./struct-type.ts";

export interface TunnelAuth {
  readonly accountTag: string;
  readonly tunnelSecret: Uint8Array;
}

export interface ClientInfo {
  readonly clientId: Uint8Array;
  readonly features: readonly string[];
  readonly version: string;
  readonly arch: string;
}

export interface ConnectionOptions {
  readonly client: ClientInfo;
  readonly originLocalIp: Uint8Array;
  readonly replaceExisting: boolean;
  readonly compressionQuality: number;
  readonly numPreviousAttempts: number;
}

export interface RegisterConnectionParams {
  readonly auth: TunnelAuth;
  readonly tunnelId: Uint8Array;
  readonly connIndex: number;
  readonly options: ConnectionOptions;
}

export interface ConnectionError {
  readonly cause: string;
  /** Nanoseconds. */
  readonly retryAfter: bigint;
  readonly shouldRetry: boolean;
}

export interface ConnectionDetails {
  readonly uuid: Uint8Array;
  readonly locationName: string;
  readonly tunnelIsRemotelyManaged: boolean;
}

export type ConnectionResponse =
  | { readonly kind: "error"; readonly error: ConnectionError }
  | { readonly kind: "connectionDetails"; readonly connectionDetails: ConnectionDetails };

export interface RegisterConnectionResults {
  readonly result: ConnectionResponse;
}

export interface UpdateLocalConfigurationParams {
  readonly config: Uint8Array;
}

export const tunnelAuthType: StructType<TunnelAuth> = {
  dataWords: 0,
  pointers: 2,
  read: (struct) => ({ accountTag: struct.text(0), tunnelSecret: struct.data(1) }),
  write(struct, value) {
    struct.text(0, value.accountTag);
    struct.data(1, value.tunnelSecret);
  },
};

export const clientInfoType: StructType<ClientInfo> = {
  dataWords: 0,
  pointers: 4,
  read: (struct) => ({
    clientId: struct.data(0),
    features: struct.texts(1),
    version: struct.text(2),
    arch: struct.text(3),
  }),
  write(struct, value) {
    struct.data(0, value.clientId);
    struct.texts(1, value.features);
    struct.text(2, value.version);
    struct.text(3, value.arch);
  },
};

export const connectionOptionsType: StructType<ConnectionOptions> = {
  dataWords: 1,
  pointers: 2,
  read: (struct) => ({
    client: clientInfoType.read(struct.struct(0)),
    originLocalIp: struct.data(1),
    replaceExisting: struct.bit(0),
    compressionQuality: struct.uint8(1),
    numPreviousAttempts: struct.uint8(2),
  }),
  write(struct, value) {
    struct.struct(0, clientInfoType, value.client);
    struct.data(1, value.originLocalIp);
    struct.bit(0, value.replaceExisting);
    struct.uint8(1, value.compressionQuality);
    struct.uint8(2, value.numPreviousAttempts);
  },
};

export const registerConnectionParamsType: StructType<RegisterConnectionParams> = {
  dataWords: 1,
  pointers: 3,
  read: (struct) => ({
    auth: tunnelAuthType.read(struct.struct(0)),
    tunnelId: struct.data(1),
    connIndex: struct.uint8(0),
    options: connectionOptionsType.read(struct.struct(2)),
  }),
  write(struct, value) {
    struct.struct(0, tunnelAuthType, value.auth);
    struct.data(1, value.tunnelId);
    struct.uint8(0, value.connIndex);
    struct.struct(2, connectionOptionsType, value.options);
  },
};

export const connectionErrorType: StructType<ConnectionError> = {
  dataWords: 2,
  pointers: 1,
  read: (struct) => ({ cause: struct.text(0), retryAfter: struct.int64(0), shouldRetry: struct.bit(64) }),
  write(struct, value) {
    struct.text(0, value.cause);
    struct.int64(0, value.retryAfter);
    struct.bit(64, value.shouldRetry);
  },
};

export const connectionDetailsType: StructType<ConnectionDetails> = {
  dataWords: 1,
  pointers: 2,
  read: (struct) => ({
    uuid: struct.data(0),
    locationName: struct.text(1),
    tunnelIsRemotelyManaged: struct.bit(0),
  }),
  write(struct, value) {
    struct.data(0, value.uuid);
    struct.text(1, value.locationName);
    struct.bit(0, value.tunnelIsRemotelyManaged);
  },
};

const WHICH_ERROR = 0;
const WHICH_CONNECTION_DETAILS = 1;

export const connectionResponseType: StructType<ConnectionResponse> = {
  dataWords: 1,
  pointers: 1,
  read(struct) {
    const which = struct.uint16(0);
    if (which !== WHICH_ERROR && which !== WHICH_CONNECTION_DETAILS)
      throw malformed(`ConnectionResponse holds union member ${which}, expected 0 (error) or 1 (connectionDetails)`);
    // A null member would read as an error without a cause, which nobody ever means.
    if (!struct.has(0)) throw malformed("ConnectionResponse holds neither an error nor connectionDetails");
    return which === WHICH_ERROR
      ? { kind: "error", error: connectionErrorType.read(struct.struct(0)) }
      : { kind: "connectionDetails", connectionDetails: connectionDetailsType.read(struct.struct(0)) };
  },
  write(struct, value) {
    if (value.kind === "error") {
      struct.uint16(0, WHICH_ERROR);
      struct.struct(0, connectionErrorType, value.error);
    } else {
      struct.uint16(0, WHICH_CONNECTION_DETAILS);
      struct.struct(0, connectionDetailsType, value.connectionDetails);
    }
  },
};

export const registerConnectionResultsType: StructType<RegisterConnectionResults> = {
  dataWords: 0,
  pointers: 1,
  read: (struct) => ({ result: connectionResponseType.read(struct.struct(0)) }),
  write: (struct, value) => struct.struct(0, connectionResponseType, value.result),
};

export const updateLocalConfigurationParamsType: StructType<UpdateLocalConfigurationParams> = {
  dataWords: 0,
  pointers: 1,
  read: (struct) => ({ config: struct.data(0) }),
  write: (struct, value) => struct.data(0, value.config),
};
