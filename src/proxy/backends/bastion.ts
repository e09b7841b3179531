/** A jump host: TCP over WebSocket to whatever address the client names (ingress § 5.5). Who may do that is a matter of Access. */
import type { WebSocketRequest } from "../../types.ts";
import { BadRequestError } from "../bad-request.ts";
import { headerValue } from "../header-value.ts";
import { addressTarget } from "../literal-target.ts";
import type { OriginTarget } from "../origin-target.ts";
import { webSocketOrAnswer } from "../websocket/handshake.ts";
import { noPreface, serveTcpOverWebSocket } from "../websocket/serve.ts";
import type { BackendFactory } from "./backend.ts";

const DESTINATION = "cf-access-jump-destination";

/** `host:port`, also as a URL: its scheme, user and path say nothing. */
function jumpTarget({ headers }: WebSocketRequest): OriginTarget {
  const text = headerValue(headers, DESTINATION) ?? "";
  if (text === "") {
    throw new BadRequestError(
      "a request to bastion names no destination; the client must be started with --destination host:port",
    );
  }
  const match =
    /^(?:[a-z][a-z0-9+.-]*:\/\/)?(?:[^/?#@]*@)?(?:\[([0-9a-f:.]+)\]|([^:/?#@[\]\s]+)):(\d{1,5})(?:[/?#]|$)/i.exec(text);
  const host = match?.[1] ?? match?.[2] ?? "";
  const port = Number(match?.[3]);
  if (host === "" || !(port >= 1 && port <= 65_535)) {
    throw new BadRequestError("the destination of a request to bastion must be host:port, IPv6 in brackets");
  }
  return addressTarget(host, port, "bastion");
}

export const createBastionBackend: BackendFactory<"bastion"> = (_service, options, context) => {
  const { connections, resources } = context;
  const tcp = { options, connections, resources };
  return {
    service: "bastion",
    serve(request, _connIndex, record) {
      const upgrade = webSocketOrAnswer(request, record);
      if (upgrade !== undefined) serveTcpOverWebSocket(upgrade, record, tcp, jumpTarget(upgrade), noPreface);
    },
    retire() {},
  };
};
