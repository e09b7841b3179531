/** A rule's service, ready to take requests. */
import type { IngressRule } from "../../types.ts";
import { withAccess } from "../access/gate.ts";
import { withEdits } from "../edits/edited-backend.ts";
import type { Backend, BackendContext } from "./backend.ts";
import { createBastionBackend } from "./bastion.ts";
import { createFailoverBackend } from "./failover.ts";
import { createHelloWorldBackend } from "./hello-world.ts";
import { createInProcessBackend } from "./in-process.ts";
import { createSocksProxyBackend } from "./socks-proxy.ts";
import { createStatusBackend } from "./status.ts";
import { createTcpBackend } from "./tcp-service.ts";
import { createWireBackend } from "./wire.ts";

/** Throws an UnderpassError for what can't be started, such as a scheme that no request can be sent to. */
export function createBackend(rule: IngressRule, context: BackendContext): Backend {
  // Inside of Access, which needs what an edit may remove.
  const backend = withEdits(createServiceBackend(rule, context), rule.originRequest);
  const { access } = rule.originRequest;
  return access?.required === true ? withAccess(backend, access, context.accessKeys) : backend;
}

function createServiceBackend({ service, originRequest }: IngressRule, context: BackendContext): Backend {
  switch (service.kind) {
    case "url":
    case "unix":
      return createWireBackend(service, originRequest, context);
    case "server":
    case "listener":
    case "fetch":
      return createInProcessBackend(service, originRequest, context);
    case "status":
      return createStatusBackend(service, originRequest, context);
    case "tcp":
      return createTcpBackend(service, originRequest, context);
    case "bastion":
      return createBastionBackend(service, originRequest, context);
    case "socks-proxy":
      return createSocksProxyBackend(service, originRequest, context);
    case "failover":
      return createFailoverBackend(service, originRequest, context);
    case "hello-world":
    default:
      return createHelloWorldBackend(service, originRequest, context);
  }
}
