/** A registration, and handlers that accept it. */
import { randomBytes, randomUUID } from "node:crypto";
import { RpcError } from "../../src/rpc/errors.ts";
import type { RegistrationParams, RegistrationResult } from "../../src/rpc/registration-client.ts";
import type { RegistrationHandlers } from "../../src/rpc/registration-server.ts";

export const options = { timeoutMs: 5000 };

export function registration(change: Partial<RegistrationParams> = {}): RegistrationParams {
  return {
    accountTag: "account",
    tunnelSecret: new Uint8Array(randomBytes(32)),
    tunnelId: randomUUID(),
    connIndex: 3,
    clientId: randomUUID(),
    features: ["allow_remote_config", "serialized_headers"],
    version: "0.1.0",
    arch: "linux_amd64",
    originLocalIp: "192.0.2.7",
    replaceExisting: true,
    numPreviousAttempts: 4,
    ...change,
  };
}

export const registered: RegistrationResult = {
  kind: "registered",
  connectionId: "437da7c8-1515-4275-8ff7-fbc9f52daba7",
  location: "ams01",
  remotelyManaged: true,
};

export function handlers(change: Partial<RegistrationHandlers> = {}): RegistrationHandlers {
  return {
    registerConnection: () => registered,
    unregisterConnection: () => undefined,
    updateLocalConfiguration: () => undefined,
    ...change,
  };
}

/** The error with which a call failed. */
export async function rpcError(promise: Promise<unknown>): Promise<RpcError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof RpcError)) throw new Error(`expected an RpcError, got ${String(error)}`);
  return error;
}
