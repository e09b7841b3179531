/** tcp, ssh, rdp, smb: TCP over WebSocket to one address (ingress § 5.4). */
import { encodeProxyHeader } from "../../protocol/proxy-protocol/header.ts";
import type { OriginRequestOptions } from "../../types.ts";
import { headerValue } from "../header-value.ts";
import { addressTarget } from "../literal-target.ts";
import { hostPort } from "../origin-target.ts";
import { serveSocks } from "../socks5/serve.ts";
import { webSocketOrAnswer } from "../websocket/handshake.ts";
import { noPreface, type Preface, serveTcpOverWebSocket } from "../websocket/serve.ts";
import type { BackendFactory } from "./backend.ts";

/** The visitor's address, without the port, which nobody tells; and the origin's own. */
function prefaceOf({ proxyProtocol }: OriginRequestOptions): Preface {
  if (proxyProtocol === undefined) return noPreface;
  return ({ headers }, socket) => {
    const address = headerValue(headers, "cf-connecting-ip");
    const source = address === undefined ? undefined : { address, port: 0 };
    const destination = { address: socket.remoteAddress ?? "", port: socket.remotePort ?? 0 };
    return encodeProxyHeader(proxyProtocol, source, destination).toString("latin1");
  };
}

export const createTcpBackend: BackendFactory<"tcp"> = ({ host, port, scheme }, options, context) => {
  const { connections, resources } = context;
  const tcp = { options, connections, resources };
  const target = addressTarget(host, port, `${scheme}://${hostPort(host, port)}`);
  const preface = prefaceOf(options);
  return {
    service: target.service,
    serve(request, _connIndex, record) {
      const upgrade = webSocketOrAnswer(request, record);
      if (upgrade === undefined) return;
      // The client's SOCKS request is answered, but what it asks for is not where it gets: this service has one address.
      if (options.proxyType === "socks") serveSocks(upgrade, record, tcp, () => Promise.resolve([target]), preface);
      else serveTcpOverWebSocket(upgrade, record, tcp, target, preface);
    },
    retire() {},
  };
};
