/** The edge's side of the control stream (wire § 9.3, § 9.5), for the mock edge. */
import type { ConnectionResponse, RegisterConnectionParams } from "../protocol/capnp/registration.ts";
import type { ByteChannel } from "../types.ts";
import { implement } from "./callee.ts";
import { RpcConnection } from "./connection.ts";
import { nsFromMs } from "./duration.ts";
import { RpcError } from "./errors.ts";
import { ipFromBytes } from "./ip.ts";
import { registerConnection, unregisterConnection, updateLocalConfiguration } from "./methods.ts";
import type { RegistrationParams, RegistrationResult } from "./registration-client.ts";
import { uuidFromBytes, uuidToBytes } from "./uuid.ts";

/** A handler that throws answers with an exception that carries its message. `signal`: the caller gave up, or is gone. */
export interface RegistrationHandlers {
  registerConnection(params: RegistrationParams, signal: AbortSignal): RegistrationResult | Promise<RegistrationResult>;
  unregisterConnection(signal: AbortSignal): void | Promise<void>;
  updateLocalConfiguration(config: Uint8Array, signal: AbortSignal): void | Promise<void>;
}

export interface RpcServer {
  /** Tells the peer `reason` ("rpc: shutdown" unless given), and ends the stream. Idempotent. */
  close(reason?: string): void;
  /** Resolves once when the RPC connection ended; undefined when in order. Never rejects. */
  readonly ended: Promise<Error | undefined>;
}

function uuid(field: string, bytes: Uint8Array): string {
  const text = uuidFromBytes(bytes);
  if (text === undefined) throw new RpcError("malformed", `${field} is ${bytes.length} bytes long, expected 16`);
  return text;
}

function fromWire({ auth, tunnelId, connIndex, options }: RegisterConnectionParams): RegistrationParams {
  return {
    accountTag: auth.accountTag,
    tunnelSecret: auth.tunnelSecret,
    tunnelId: uuid("tunnelId", tunnelId),
    connIndex,
    clientId: uuid("clientId", options.client.clientId),
    features: options.client.features,
    version: options.client.version,
    arch: options.client.arch,
    originLocalIp: ipFromBytes(options.originLocalIp),
    replaceExisting: options.replaceExisting,
    numPreviousAttempts: options.numPreviousAttempts,
  };
}

function toWire(result: RegistrationResult): ConnectionResponse {
  if (result.kind === "refused") {
    const { cause, shouldRetry, retryAfterMs } = result;
    return { kind: "error", error: { cause, shouldRetry, retryAfter: nsFromMs(retryAfterMs) } };
  }
  const id = uuidToBytes(result.connectionId);
  if (id === undefined) throw new RpcError("argument", "connectionId is no UUID");
  return {
    kind: "connectionDetails",
    connectionDetails: {
      uuid: id,
      locationName: result.location,
      tunnelIsRemotelyManaged: result.remotelyManaged,
    },
  };
}

export function serveRegistration(channel: ByteChannel, handlers: RegistrationHandlers): RpcServer {
  const connection = new RpcConnection(channel, [
    implement(registerConnection, async (params, signal) => {
      const result = await handlers.registerConnection(fromWire(params), signal);
      return { result: toWire(result) };
    }),
    implement(unregisterConnection, (_, signal) => handlers.unregisterConnection(signal)),
    implement(updateLocalConfiguration, ({ config }, signal) => handlers.updateLocalConfiguration(config, signal)),
  ]);
  return { close: (reason) => connection.close(reason), ended: connection.ended };
}
