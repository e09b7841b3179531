/**
 * What the connector answers on an RPC stream that the edge opens, on QUIC (wire § 5.5, § 9.3): SessionManager and
 * ConfigurationManager on one capability. A stream serves one connection; its time limit is the caller's, by `close`.
 */
import type { ByteChannel } from "../types.ts";
import { implement } from "./callee.ts";
import { RpcConnection } from "./connection.ts";
import { msFromNs } from "./duration.ts";
import { messageOf, RpcError } from "./errors.ts";
import { ipFromBytes } from "./ip.ts";
import { registerUdpSession, unregisterUdpSession, updateConfiguration } from "./methods.ts";
import type { RpcServer } from "./registration-server.ts";
import { uuidFromBytes } from "./uuid.ts";

export interface UdpSessionRequest {
  /** UUID. */
  readonly sessionId: string;
  readonly dstIp: string;
  readonly dstPort: number;
  /** 0 when the edge leaves it to us. */
  readonly closeAfterIdleMs: number;
  readonly traceContext: string;
}

/** Runs in the order of the calls, but does not wait for one before the next begins. */
export interface CloudflaredHandlers {
  /** Returns the session's trace spans, empty for none. What it throws is answered as the session's `err`. */
  registerUdpSession(request: UdpSessionRequest, signal: AbortSignal): Uint8Array | Promise<Uint8Array>;
  unregisterUdpSession(sessionId: string, message: string, signal: AbortSignal): void | Promise<void>;
  /** `config` is JSON from outside. */
  updateConfiguration(
    version: number,
    config: Uint8Array,
    signal: AbortSignal,
  ): ConfigurationResult | Promise<ConfigurationResult>;
}

export interface ConfigurationResult {
  readonly lastAppliedVersion: number;
  /** Why the configuration was not applied. */
  readonly error?: string;
}

function sessionUuid(bytes: Uint8Array): string {
  const text = uuidFromBytes(bytes);
  if (text === undefined) throw new RpcError("malformed", `sessionId is ${bytes.length} bytes long, expected 16`);
  return text;
}

export function serveCloudflared(channel: ByteChannel, handlers: CloudflaredHandlers): RpcServer {
  const connection = new RpcConnection(channel, [
    implement(registerUdpSession, async (params, signal) => {
      try {
        const dstIp = ipFromBytes(params.dstIp);
        if (dstIp === undefined)
          throw new RpcError("malformed", `dstIp is ${params.dstIp.length} bytes long, expected 4 or 16`);
        const spans = await handlers.registerUdpSession(
          {
            sessionId: sessionUuid(params.sessionId),
            dstIp,
            dstPort: params.dstPort,
            closeAfterIdleMs: msFromNs(params.closeAfterIdleHint),
            traceContext: params.traceContext,
          },
          signal,
        );
        return { result: { err: "", spans } };
      } catch (error) {
        // The edge looks for the reason here and not in an exception; an empty one would mean success.
        return { result: { err: messageOf(error) || "unknown error", spans: new Uint8Array(0) } };
      }
    }),
    implement(unregisterUdpSession, ({ sessionId, message }, signal) =>
      handlers.unregisterUdpSession(sessionUuid(sessionId), message, signal),
    ),
    implement(updateConfiguration, async ({ version, config }, signal) => {
      const { lastAppliedVersion, error } = await handlers.updateConfiguration(version, config, signal);
      return { result: { latestAppliedVersion: lastAppliedVersion, err: error ?? "" } };
    }),
  ]);
  return { close: (reason) => connection.close(reason), ended: connection.ended };
}
