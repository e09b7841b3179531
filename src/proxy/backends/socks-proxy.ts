/** A SOCKS5 server for whoever the rule's hostname lets in, within `ipRules` (ingress § 5.6). */
import { permittedTargets } from "../socks5/destination.ts";
import { IpPolicy } from "../socks5/ip-policy.ts";
import { serveSocks, type SocksRoute } from "../socks5/serve.ts";
import { webSocketOrAnswer } from "../websocket/handshake.ts";
import { noPreface } from "../websocket/serve.ts";
import type { BackendFactory } from "./backend.ts";

export const createSocksProxyBackend: BackendFactory<"socks-proxy"> = (_service, options, context) => {
  const { connections, resources } = context;
  const tcp = { options, connections, resources };
  const policy = new IpPolicy(options.ipRules);
  return {
    service: "socks-proxy",
    serve(request, _connIndex, record) {
      const upgrade = webSocketOrAnswer(request, record);
      if (upgrade === undefined) return;
      const route: SocksRoute = (destination) => permittedTargets(destination, policy, options.connectTimeoutMs);
      serveSocks(upgrade, record, tcp, route, noPreface);
    },
    retire() {},
  };
};
