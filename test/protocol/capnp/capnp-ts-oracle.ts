/**
 * The application's structs once more, for capnp-ts: layouts typed anew from the tables (wire § 9.2, § 9.3), so that a mistake in
 * `src/protocol/capnp` is not repeated here. Fields are set in schema order, depth first, and empty ones left null.
 */
import { CompositeList, type List, Message, ObjectSize, Struct, type StructCtor, TextList } from "capnp-ts";
import type {
  UpdateConfigurationParams,
  UpdateConfigurationResponse,
  UpdateConfigurationResults,
} from "../../../src/protocol/capnp/configuration.ts";
import type { ConnectRequest, ConnectResponse, Metadata } from "../../../src/protocol/capnp/connect.ts";
import type {
  ClientInfo,
  ConnectionDetails,
  ConnectionError,
  ConnectionOptions,
  ConnectionResponse,
  RegisterConnectionParams,
  RegisterConnectionResults,
  TunnelAuth,
  UpdateLocalConfigurationParams,
} from "../../../src/protocol/capnp/registration.ts";
import type {
  RegisterUdpSessionParams,
  RegisterUdpSessionResponse,
  RegisterUdpSessionResults,
  UnregisterUdpSessionParams,
} from "../../../src/protocol/capnp/session.ts";

export interface Oracle<T> {
  encode(value: T): Uint8Array;
  decode(bytes: Uint8Array): T;
}

interface OracleType<T> extends Oracle<T> {
  readonly type: StructCtor<Struct>;
  write(struct: Struct, value: T): void;
  read(struct: Struct): T;
}

function structType(displayName: string, dataWords: number, pointers: number): StructCtor<Struct> {
  return class extends Struct {
    static override readonly _capnp = { displayName, id: "0", size: new ObjectSize(dataWords * 8, pointers) };
  };
}

function oracle<T>(
  name: string,
  dataWords: number,
  pointers: number,
  write: (struct: Struct, value: T) => void,
  read: (struct: Struct) => T,
): OracleType<T> {
  const type = structType(name, dataWords, pointers);
  return {
    type,
    write,
    read,
    encode(value) {
      const message = new Message();
      write(message.initRoot(type), value);
      return new Uint8Array(message.toArrayBuffer());
    },
    decode: (bytes) => read(new Message(bytes, false).getRoot(type)),
  };
}

function setText(struct: Struct, index: number, value: string): void {
  if (value !== "") Struct.setText(index, value, struct);
}

function setData(struct: Struct, index: number, value: Uint8Array): void {
  if (value.length > 0) Struct.initData(index, value.length, struct).copyBuffer(value);
}

function getData(struct: Struct, index: number): Uint8Array {
  if (Struct.isNull(Struct.getPointer(index, struct))) return new Uint8Array(0);
  return new Uint8Array(Struct.getData(index, struct).toUint8Array());
}

function setStruct<T>(struct: Struct, index: number, of: OracleType<T>, value: T): void {
  of.write(Struct.initStructAt(index, of.type, struct), value);
}

function getStruct<T>(struct: Struct, index: number, of: OracleType<T>): T {
  return of.read(Struct.getStruct(index, of.type, struct));
}

function elements<T>(list: List<T>): T[] {
  return Array.from({ length: list.getLength() }, (_, i) => list.get(i));
}

/** Byte strings of ours are texts of theirs. */
function decoded(byteString: string): string {
  return Buffer.from(byteString, "latin1").toString();
}

function bytesOf(characters: string): string {
  return Buffer.from(characters).toString("latin1");
}

const empty: OracleType<void> = oracle(
  "Empty",
  0,
  0,
  () => undefined,
  () => undefined,
);

const metadata: OracleType<Metadata> = oracle(
  "Metadata",
  0,
  2,
  (struct, value) => {
    setText(struct, 0, decoded(value.key));
    setText(struct, 1, decoded(value.val));
  },
  (struct) => ({ key: bytesOf(Struct.getText(0, struct)), val: bytesOf(Struct.getText(1, struct)) }),
);
const MetadataList = CompositeList(metadata.type);

function setMetadata(struct: Struct, values: readonly Metadata[]): void {
  if (values.length === 0) return;
  const list = Struct.initList(1, MetadataList, values.length, struct);
  for (const [i, value] of values.entries()) metadata.write(list.get(i), value);
}

function getMetadata(struct: Struct): Metadata[] {
  return elements(Struct.getList(1, MetadataList, struct)).map((element) => metadata.read(element));
}

const connectRequest: OracleType<ConnectRequest> = oracle(
  "ConnectRequest",
  1,
  2,
  (struct, value) => {
    setText(struct, 0, decoded(value.dest));
    Struct.setUint16(0, value.type, struct);
    setMetadata(struct, value.metadata);
  },
  (struct) => ({
    dest: bytesOf(Struct.getText(0, struct)),
    type: Struct.getUint16(0, struct),
    metadata: getMetadata(struct),
  }),
);

const connectResponse: OracleType<ConnectResponse> = oracle(
  "ConnectResponse",
  0,
  2,
  (struct, value) => {
    setText(struct, 0, value.error);
    setMetadata(struct, value.metadata);
  },
  (struct) => ({ error: Struct.getText(0, struct), metadata: getMetadata(struct) }),
);

const tunnelAuth: OracleType<TunnelAuth> = oracle(
  "TunnelAuth",
  0,
  2,
  (struct, value) => {
    setText(struct, 0, value.accountTag);
    setData(struct, 1, value.tunnelSecret);
  },
  (struct) => ({ accountTag: Struct.getText(0, struct), tunnelSecret: getData(struct, 1) }),
);

const clientInfo: OracleType<ClientInfo> = oracle(
  "ClientInfo",
  0,
  4,
  (struct, value) => {
    setData(struct, 0, value.clientId);
    if (value.features.length > 0) {
      const list = Struct.initList(1, TextList, value.features.length, struct);
      for (const [i, feature] of value.features.entries()) if (feature !== "") list.set(i, feature);
    }
    setText(struct, 2, value.version);
    setText(struct, 3, value.arch);
  },
  (struct) => ({
    clientId: getData(struct, 0),
    features: elements(Struct.getList(1, TextList, struct)),
    version: Struct.getText(2, struct),
    arch: Struct.getText(3, struct),
  }),
);

const connectionOptions: OracleType<ConnectionOptions> = oracle(
  "ConnectionOptions",
  1,
  2,
  (struct, value) => {
    setStruct(struct, 0, clientInfo, value.client);
    setData(struct, 1, value.originLocalIp);
    Struct.setBit(0, value.replaceExisting, struct);
    Struct.setUint8(1, value.compressionQuality, struct);
    Struct.setUint8(2, value.numPreviousAttempts, struct);
  },
  (struct) => ({
    client: getStruct(struct, 0, clientInfo),
    originLocalIp: getData(struct, 1),
    replaceExisting: Struct.getBit(0, struct),
    compressionQuality: Struct.getUint8(1, struct),
    numPreviousAttempts: Struct.getUint8(2, struct),
  }),
);

const registerConnectionParams: OracleType<RegisterConnectionParams> = oracle(
  "registerConnection$Params",
  1,
  3,
  (struct, value) => {
    setStruct(struct, 0, tunnelAuth, value.auth);
    setData(struct, 1, value.tunnelId);
    Struct.setUint8(0, value.connIndex, struct);
    setStruct(struct, 2, connectionOptions, value.options);
  },
  (struct) => ({
    auth: getStruct(struct, 0, tunnelAuth),
    tunnelId: getData(struct, 1),
    connIndex: Struct.getUint8(0, struct),
    options: getStruct(struct, 2, connectionOptions),
  }),
);

const connectionError: OracleType<ConnectionError> = oracle(
  "ConnectionError",
  2,
  1,
  (struct, value) => {
    setText(struct, 0, value.cause);
    Struct.setInt64(0, value.retryAfter, struct);
    Struct.setBit(64, value.shouldRetry, struct);
  },
  (struct) => ({
    cause: Struct.getText(0, struct),
    retryAfter: Struct.getInt64(0, struct),
    shouldRetry: Struct.getBit(64, struct),
  }),
);

const connectionDetails: OracleType<ConnectionDetails> = oracle(
  "ConnectionDetails",
  1,
  2,
  (struct, value) => {
    setData(struct, 0, value.uuid);
    setText(struct, 1, value.locationName);
    Struct.setBit(0, value.tunnelIsRemotelyManaged, struct);
  },
  (struct) => ({
    uuid: getData(struct, 0),
    locationName: Struct.getText(1, struct),
    tunnelIsRemotelyManaged: Struct.getBit(0, struct),
  }),
);

const connectionResponse: OracleType<ConnectionResponse> = oracle(
  "ConnectionResponse",
  1,
  1,
  (struct, value) => {
    Struct.setUint16(0, value.kind === "error" ? 0 : 1, struct);
    if (value.kind === "error") setStruct(struct, 0, connectionError, value.error);
    else setStruct(struct, 0, connectionDetails, value.connectionDetails);
  },
  (struct) =>
    Struct.getUint16(0, struct) === 0
      ? { kind: "error", error: getStruct(struct, 0, connectionError) }
      : { kind: "connectionDetails", connectionDetails: getStruct(struct, 0, connectionDetails) },
);

const registerConnectionResults: OracleType<RegisterConnectionResults> = oracle(
  "registerConnection$Results",
  0,
  1,
  (struct, value) => setStruct(struct, 0, connectionResponse, value.result),
  (struct) => ({ result: getStruct(struct, 0, connectionResponse) }),
);

const updateLocalConfigurationParams: OracleType<UpdateLocalConfigurationParams> = oracle(
  "updateLocalConfiguration$Params",
  0,
  1,
  (struct, value) => setData(struct, 0, value.config),
  (struct) => ({ config: getData(struct, 0) }),
);

const registerUdpSessionParams: OracleType<RegisterUdpSessionParams> = oracle(
  "registerUdpSession$Params",
  2,
  3,
  (struct, value) => {
    setData(struct, 0, value.sessionId);
    setData(struct, 1, value.dstIp);
    Struct.setUint16(0, value.dstPort, struct);
    Struct.setInt64(8, value.closeAfterIdleHint, struct);
    setText(struct, 2, value.traceContext);
  },
  (struct) => ({
    sessionId: getData(struct, 0),
    dstIp: getData(struct, 1),
    dstPort: Struct.getUint16(0, struct),
    closeAfterIdleHint: Struct.getInt64(8, struct),
    traceContext: Struct.getText(2, struct),
  }),
);

const registerUdpSessionResponse: OracleType<RegisterUdpSessionResponse> = oracle(
  "RegisterUdpSessionResponse",
  0,
  2,
  (struct, value) => {
    setText(struct, 0, value.err);
    setData(struct, 1, value.spans);
  },
  (struct) => ({ err: Struct.getText(0, struct), spans: getData(struct, 1) }),
);

const registerUdpSessionResults: OracleType<RegisterUdpSessionResults> = oracle(
  "registerUdpSession$Results",
  0,
  1,
  (struct, value) => setStruct(struct, 0, registerUdpSessionResponse, value.result),
  (struct) => ({ result: getStruct(struct, 0, registerUdpSessionResponse) }),
);

const unregisterUdpSessionParams: OracleType<UnregisterUdpSessionParams> = oracle(
  "unregisterUdpSession$Params",
  0,
  2,
  (struct, value) => {
    setData(struct, 0, value.sessionId);
    setText(struct, 1, value.message);
  },
  (struct) => ({ sessionId: getData(struct, 0), message: Struct.getText(1, struct) }),
);

const updateConfigurationParams: OracleType<UpdateConfigurationParams> = oracle(
  "updateConfiguration$Params",
  1,
  1,
  (struct, value) => {
    Struct.setInt32(0, value.version, struct);
    setData(struct, 0, value.config);
  },
  (struct) => ({ version: Struct.getInt32(0, struct), config: getData(struct, 0) }),
);

const updateConfigurationResponse: OracleType<UpdateConfigurationResponse> = oracle(
  "UpdateConfigurationResponse",
  1,
  1,
  (struct, value) => {
    Struct.setInt32(0, value.latestAppliedVersion, struct);
    setText(struct, 0, value.err);
  },
  (struct) => ({ latestAppliedVersion: Struct.getInt32(0, struct), err: Struct.getText(0, struct) }),
);

const updateConfigurationResults: OracleType<UpdateConfigurationResults> = oracle(
  "updateConfiguration$Results",
  0,
  1,
  (struct, value) => setStruct(struct, 0, updateConfigurationResponse, value.result),
  (struct) => ({ result: getStruct(struct, 0, updateConfigurationResponse) }),
);

export const capnpTs = {
  empty,
  metadata,
  connectRequest,
  connectResponse,
  tunnelAuth,
  clientInfo,
  connectionOptions,
  registerConnectionParams,
  connectionError,
  connectionDetails,
  connectionResponse,
  registerConnectionResults,
  updateLocalConfigurationParams,
  registerUdpSessionParams,
  registerUdpSessionResponse,
  registerUdpSessionResults,
  unregisterUdpSessionParams,
  updateConfigurationParams,
  updateConfigurationResponse,
  updateConfigurationResults,
};
