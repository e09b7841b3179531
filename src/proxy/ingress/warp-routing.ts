/** `warp-routing`: TCP streams of the private network (ingress § 1.2). */
import type { WarpRouting } from "../../types.ts";
import { defaultWarpRouting } from "./defaults.ts";
import type { Scope } from "./problems.ts";
import { readDuration, readFields, readInteger } from "./values.ts";

export function readWarpRouting(value: unknown, scope: Scope): WarpRouting {
  let { connectTimeoutMs, tcpKeepAliveMs, maxActiveFlows } = defaultWarpRouting;
  readFields(value, scope, {
    connectTimeout: (field, at) => (connectTimeoutMs = readDuration(field, at, "not negative") ?? 0),
    tcpKeepAlive: (field, at) => (tcpKeepAliveMs = readDuration(field, at, "negative") ?? 0),
    maxActiveFlows: (field, at) => (maxActiveFlows = readInteger(field, at, 0, Number.MAX_SAFE_INTEGER) ?? 0),
    enabled(field, at) {
      at.warning(
        field === false
          ? "is obsolete: the private network is served whenever the tunnel has routes for it"
          : "is obsolete and can be left out: the private network is always served",
      );
    },
  });
  return { connectTimeoutMs, tcpKeepAliveMs, maxActiveFlows };
}
