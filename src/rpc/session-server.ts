/** What the edge answers on an RPC stream that the connector opens (wire § 6): a UDP session has ended. For the mock edge. */
import type { ByteChannel } from "../types.ts";
import { implement } from "./callee.ts";
import { RpcConnection } from "./connection.ts";
import { RpcError } from "./errors.ts";
import { unregisterUdpSession } from "./methods.ts";
import type { RpcServer } from "./registration-server.ts";
import { uuidFromBytes } from "./uuid.ts";

export interface SessionHandlers {
  /** `sessionId` is a UUID. */
  unregisterUdpSession(sessionId: string, message: string, signal: AbortSignal): void | Promise<void>;
}

export function serveSessions(channel: ByteChannel, handlers: SessionHandlers): RpcServer {
  const connection = new RpcConnection(channel, [
    implement(unregisterUdpSession, ({ sessionId, message }, signal) => {
      const id = uuidFromBytes(sessionId);
      if (id === undefined) throw new RpcError("malformed", `sessionId is ${sessionId.length} bytes long, expected 16`);
      return handlers.unregisterUdpSession(id, message, signal);
    }),
  ]);
  return { close: (reason) => connection.close(reason), ended: connection.ended };
}
