/** One origin over sockets. */
import type { OriginRequestOptions, WireOrigin } from "../../types.ts";
import { createMemoryBudget } from "../../protocol/memory-budget/budget.ts";
import { editedNames } from "../edits/header-edits.ts";
import { Http1Route } from "../http1-route.ts";
import { Http2Route } from "../http2-route.ts";
import { OriginNames } from "../origin-names.ts";
import { originTarget } from "../origin-target.ts";
import { RequestFields } from "../request-fields.ts";
import type { WireRoute } from "../wire-route.ts";
import type { BackendContext, BackendFactory } from "./backend.ts";

/** Throws an UnderpassError for an origin that no request can be sent to. */
export function createWireRoute(origin: WireOrigin, options: OriginRequestOptions, context: BackendContext): WireRoute {
  const { connections, connectorId, originRoots, resources, tags } = context;
  const target = originTarget(origin, options, originRoots, process.env);
  // As in cloudflared: what stands at the top for all rules is meant for hosts.
  const hostHeader = origin.kind === "unix" ? undefined : options.httpHostHeader;
  const names = new OriginNames(target, hostHeader, options.matchSNItoHost);
  const fields = new RequestFields({
    connectorId,
    tags,
    hostHeader,
    fallbackHost: target.host,
    edited: editedNames(options.requestHeaders),
    // Behind TLS, origins are reached by a tunnel through it.
    proxied: target.tls === undefined ? target.proxy : undefined,
    authority: target.host,
  });
  const http1 = new Http1Route(target, names, fields, options, context);
  const isHttp2 = origin.kind === "url" && origin.url.protocol === "h2c:";
  if (!isHttp2 && !(options.http2Origin && target.tls !== undefined)) return http1;
  const sessions = { options, flushes: resources.flushes, budget: createMemoryBudget() };
  return new Http2Route(http1, names, fields, sessions, connections);
}

export const createWireBackend: BackendFactory<"url" | "unix"> = (origin, options, context) => {
  const route = createWireRoute(origin, options, context);
  return {
    service: route.service,
    serve: (request, _connIndex, record) => route.serve(request, record, undefined),
    retire: () => route.retire(),
  };
};
