/** HTTP/1.1 over sockets, with a keep-alive pool of its own. */
import { HeaderLineCache } from "../../protocol/http1/header-line.ts";
import { HttpExchange } from "../http-exchange.ts";
import { OriginPool } from "../origin-pool.ts";
import { originTarget } from "../origin-target.ts";
import { RequestFields } from "../request-fields.ts";
import type { BackendFactory } from "./backend.ts";

export const createWireBackend: BackendFactory<"url" | "unix"> = (origin, options, context) => {
  const { connections, connectorId, originRoots, resources, tags } = context;
  const target = originTarget(origin, options, originRoots);
  const pool = new OriginPool(target, options, new HeaderLineCache(), connections);
  const fields = new RequestFields({
    connectorId,
    tags,
    hostHeader: options.httpHostHeader,
    fallbackHost: target.host,
  });
  const exchanges = { target, pool, fields, resources };
  return {
    service: target.service,
    serve(request, _connIndex, record) {
      const exchange = new HttpExchange(exchanges, request, record);
      request.stream.sink = exchange;
      record.activate(exchange);
      exchange.start();
    },
    retire: () => pool.close(),
  };
};
