/**
 * Calls on the capability that a stream's other end offers (wire § 5.5, § 9.3). The edge calls the connector so, and the
 * connector the edge when a UDP session has ended by itself; that needs no answer but that it came.
 */
import type { ByteChannel } from "../types.ts";
import type { CallOptions } from "./caller.ts";
import type { ConfigurationResult, UdpSessionRequest } from "./cloudflared-server.ts";
import { RpcConnection } from "./connection.ts";
import { nsFromMs } from "./duration.ts";
import { RpcError, remoteText } from "./errors.ts";
import { ipToBytes } from "./ip.ts";
import { registerUdpSession, unregisterUdpSession, updateConfiguration } from "./methods.ts";
import { uuidToBytes } from "./uuid.ts";

export interface UdpSessionResult {
  /** Why there is no session. */
  readonly error: string | undefined;
  readonly spans: Uint8Array;
}

export interface CloudflaredClient {
  registerUdpSession(request: UdpSessionRequest, options: CallOptions): Promise<UdpSessionResult>;
  unregisterUdpSession(sessionId: string, message: string, options: CallOptions): Promise<void>;
  updateConfiguration(version: number, config: Uint8Array, options: CallOptions): Promise<ConfigurationResult>;
  /** Release, Abort "rpc: shutdown", end. Idempotent. */
  close(): void;
  /** Resolves once when the RPC connection ended; undefined when in order. Never rejects. */
  readonly ended: Promise<Error | undefined>;
}

function bytesOfSession(sessionId: string): Uint8Array {
  const bytes = uuidToBytes(sessionId);
  if (bytes === undefined)
    throw new RpcError("argument", "sessionId is no UUID like 00000000-0000-4000-8000-000000000000");
  return bytes;
}

function bytesOfAddress(dstIp: string): Uint8Array {
  const bytes = ipToBytes(dstIp);
  if (bytes === undefined) throw new RpcError("argument", "dstIp is no IP address");
  return bytes;
}

/** Each call rejects with RpcError: timeout, exception, malformed answer, lost channel. */
export function createCloudflaredClient(channel: ByteChannel): CloudflaredClient {
  const connection = new RpcConnection(channel, []);
  connection.bootstrap();
  return {
    ended: connection.ended,
    async registerUdpSession({ sessionId, dstIp, dstPort, closeAfterIdleMs, traceContext }, options) {
      const params = {
        sessionId: bytesOfSession(sessionId),
        dstIp: bytesOfAddress(dstIp),
        dstPort,
        closeAfterIdleHint: nsFromMs(closeAfterIdleMs),
        traceContext,
      };
      const { result } = await connection.call(registerUdpSession, params, options);
      return { error: result.err === "" ? undefined : remoteText(result.err), spans: result.spans };
    },
    async unregisterUdpSession(sessionId, message, options) {
      await connection.call(unregisterUdpSession, { sessionId: bytesOfSession(sessionId), message }, options);
    },
    async updateConfiguration(version, config, options) {
      const { result } = await connection.call(updateConfiguration, { version, config }, options);
      const { err, latestAppliedVersion } = result;
      return { lastAppliedVersion: latestAppliedVersion, ...(err === "" ? {} : { error: remoteText(err) }) };
    },
    close: () => connection.close(),
  };
}
