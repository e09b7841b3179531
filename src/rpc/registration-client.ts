/** The connector's side of the control stream (wire § 9.4 to § 9.6): registers a connection, and unregisters it. */
import type { ConnectionResponse, RegisterConnectionParams } from "../protocol/capnp/registration.ts";
import type { ByteChannel } from "../types.ts";
import { RpcConnection } from "./connection.ts";
import { msFromNs } from "./duration.ts";
import { RpcError, remoteText } from "./errors.ts";
import { ipToBytes } from "./ip.ts";
import { registerConnection, unregisterConnection, updateLocalConfiguration } from "./methods.ts";
import { uuidFromBytes, uuidToBytes } from "./uuid.ts";

export interface RegistrationParams {
  readonly accountTag: string;
  readonly tunnelSecret: Uint8Array;
  /** UUID. */
  readonly tunnelId: string;
  readonly connIndex: number;
  /** UUID. */
  readonly clientId: string;
  readonly features: readonly string[];
  readonly version: string;
  readonly arch: string;
  /** IP address; undefined where it is not known. */
  readonly originLocalIp: string | undefined;
  readonly replaceExisting: boolean;
  /** The wire has one byte for it: more is sent as 255. */
  readonly numPreviousAttempts: number;
}

export type RegistrationResult =
  | {
      readonly kind: "registered";
      /** UUID. */
      readonly connectionId: string;
      readonly location: string;
      readonly remotelyManaged: boolean;
    }
  | {
      readonly kind: "refused";
      readonly cause: string;
      readonly shouldRetry: boolean;
      /** 0 when the edge names no time; never more than a timer takes. */
      readonly retryAfterMs: number;
    };

export interface RegistrationCallOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

export interface RegistrationClient {
  /** Rejects with RpcError: timeout, exception, malformed answer, lost channel. */
  register(params: RegistrationParams, options: RegistrationCallOptions): Promise<RegistrationResult>;
  updateLocalConfiguration(config: Uint8Array, options: RegistrationCallOptions): Promise<void>;
  unregister(options: RegistrationCallOptions): Promise<void>;
  /**
   * Release, Abort "rpc: shutdown", end. Idempotent. Our side of the stream stays open until then, also when the edge has ended
   * its own: to the edge its end means that the connector is leaving.
   */
  close(): void;
  /** Resolves once when the RPC connection ended; undefined when in order. Never rejects. */
  readonly ended: Promise<Error | undefined>;
}

function uuid(field: string, text: string): Uint8Array {
  const bytes = uuidToBytes(text);
  if (bytes === undefined)
    throw new RpcError("argument", `${field} is no UUID like 00000000-0000-4000-8000-000000000000`);
  return bytes;
}

function toWire(params: RegistrationParams): RegisterConnectionParams {
  const { connIndex } = params;
  if (!Number.isInteger(connIndex) || connIndex < 0 || connIndex > 255)
    throw new RpcError("argument", `connIndex is ${connIndex}, expected 0 to 255`);
  return {
    auth: { accountTag: params.accountTag, tunnelSecret: params.tunnelSecret },
    tunnelId: uuid("tunnelId", params.tunnelId),
    connIndex,
    options: {
      client: {
        clientId: uuid("clientId", params.clientId),
        features: params.features,
        version: params.version,
        arch: params.arch,
      },
      originLocalIp: ipToBytes(params.originLocalIp ?? "") ?? new Uint8Array(0),
      replaceExisting: params.replaceExisting,
      compressionQuality: 0,
      numPreviousAttempts: Math.min(params.numPreviousAttempts, 255),
    },
  };
}

function fromWire(response: ConnectionResponse): RegistrationResult {
  if (response.kind === "error") {
    const { cause, shouldRetry, retryAfter } = response.error;
    return { kind: "refused", cause: remoteText(cause), shouldRetry, retryAfterMs: msFromNs(retryAfter) };
  }
  const { uuid, locationName, tunnelIsRemotelyManaged } = response.connectionDetails;
  const connectionId = uuidFromBytes(uuid);
  if (connectionId === undefined)
    throw new RpcError("malformed", `the edge's connection id is ${uuid.length} bytes long, expected 16`);
  return {
    kind: "registered",
    connectionId,
    location: remoteText(locationName),
    remotelyManaged: tunnelIsRemotelyManaged,
  };
}

/** Asks for the edge's capability at once, so that the first call goes out without waiting for it. */
export function createRegistrationClient(channel: ByteChannel): RegistrationClient {
  const connection = new RpcConnection(channel, []);
  connection.bootstrap();
  return {
    ended: connection.ended,
    async register(params, options) {
      const { result } = await connection.call(registerConnection, toWire(params), options);
      return fromWire(result);
    },
    updateLocalConfiguration: (config, options) => connection.call(updateLocalConfiguration, { config }, options),
    unregister: (options) => connection.call(unregisterConnection, undefined, options),
    close: () => connection.close(),
  };
}
