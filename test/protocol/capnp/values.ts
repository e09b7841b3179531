/** Seeded values of every application struct (fast-check), with the names that the oracle uses. */
import * as fc from "fast-check";
import {
  updateConfigurationParamsType,
  updateConfigurationResponseType,
  updateConfigurationResultsType,
} from "../../../src/protocol/capnp/configuration.ts";
import { connectRequestType, connectResponseType, metadataType } from "../../../src/protocol/capnp/connect.ts";
import {
  clientInfoType,
  type ConnectionResponse,
  connectionDetailsType,
  connectionErrorType,
  connectionOptionsType,
  connectionResponseType,
  registerConnectionParamsType,
  registerConnectionResultsType,
  tunnelAuthType,
  updateLocalConfigurationParamsType,
} from "../../../src/protocol/capnp/registration.ts";
import {
  registerUdpSessionParamsType,
  registerUdpSessionResponseType,
  registerUdpSessionResultsType,
  unregisterUdpSessionParamsType,
} from "../../../src/protocol/capnp/session.ts";
import { emptyType, type StructType } from "../../../src/protocol/capnp/struct-type.ts";

/** Any code points, NUL and BOM included; lone surrogates have no UTF-8. */
export const text = fc.string({ unit: "binary", maxLength: 40 });
export const data = fc.uint8Array({ maxLength: 40 });
const uint8 = fc.integer({ min: 0, max: 0xff });
export const uint16 = fc.integer({ min: 0, max: 0xffff });
const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });

/** The same as bytes, one a char: what header fields and targets are. */
const byteString = text.map((characters) => Buffer.from(characters).toString("latin1"));

const metadata = fc.record({ key: byteString, val: byteString });
const entries = fc.array(metadata, { maxLength: 6 });
const tunnelAuth = fc.record({ accountTag: text, tunnelSecret: data });
const clientInfo = fc.record({
  clientId: data,
  features: fc.array(text, { maxLength: 6 }),
  version: text,
  arch: text,
});
const connectionOptions = fc.record({
  client: clientInfo,
  originLocalIp: data,
  replaceExisting: fc.boolean(),
  compressionQuality: uint8,
  numPreviousAttempts: uint8,
});
const connectionError = fc.record({ cause: text, retryAfter: int64, shouldRetry: fc.boolean() });
const connectionDetails = fc.record({ uuid: data, locationName: text, tunnelIsRemotelyManaged: fc.boolean() });
const connectionResponse: fc.Arbitrary<ConnectionResponse> = fc.oneof(
  connectionError.map((error) => ({ kind: "error" as const, error })),
  connectionDetails.map((details) => ({ kind: "connectionDetails" as const, connectionDetails: details })),
);
const registerUdpSessionResponse = fc.record({ err: text, spans: data });
const updateConfigurationResponse = fc.record({ latestAppliedVersion: int32, err: text });

export interface Sample<T> {
  readonly type: StructType<T>;
  readonly values: fc.Arbitrary<T>;
}

export const samples = {
  empty: { type: emptyType, values: fc.constant(undefined) },
  metadata: { type: metadataType, values: metadata },
  connectRequest: {
    type: connectRequestType,
    values: fc.record({ dest: byteString, type: uint16, metadata: entries }),
  },
  connectResponse: { type: connectResponseType, values: fc.record({ error: text, metadata: entries }) },
  tunnelAuth: { type: tunnelAuthType, values: tunnelAuth },
  clientInfo: { type: clientInfoType, values: clientInfo },
  connectionOptions: { type: connectionOptionsType, values: connectionOptions },
  registerConnectionParams: {
    type: registerConnectionParamsType,
    values: fc.record({ auth: tunnelAuth, tunnelId: data, connIndex: uint8, options: connectionOptions }),
  },
  connectionError: { type: connectionErrorType, values: connectionError },
  connectionDetails: { type: connectionDetailsType, values: connectionDetails },
  connectionResponse: { type: connectionResponseType, values: connectionResponse },
  registerConnectionResults: {
    type: registerConnectionResultsType,
    values: fc.record({ result: connectionResponse }),
  },
  updateLocalConfigurationParams: {
    type: updateLocalConfigurationParamsType,
    values: fc.record({ config: data }),
  },
  registerUdpSessionParams: {
    type: registerUdpSessionParamsType,
    values: fc.record({
      sessionId: data,
      dstIp: data,
      dstPort: uint16,
      closeAfterIdleHint: int64,
      traceContext: text,
    }),
  },
  registerUdpSessionResponse: { type: registerUdpSessionResponseType, values: registerUdpSessionResponse },
  registerUdpSessionResults: {
    type: registerUdpSessionResultsType,
    values: fc.record({ result: registerUdpSessionResponse }),
  },
  unregisterUdpSessionParams: {
    type: unregisterUdpSessionParamsType,
    values: fc.record({ sessionId: data, message: text }),
  },
  updateConfigurationParams: {
    type: updateConfigurationParamsType,
    values: fc.record({ version: int32, config: data }),
  },
  updateConfigurationResponse: { type: updateConfigurationResponseType, values: updateConfigurationResponse },
  updateConfigurationResults: {
    type: updateConfigurationResultsType,
    values: fc.record({ result: updateConfigurationResponse }),
  },
};
