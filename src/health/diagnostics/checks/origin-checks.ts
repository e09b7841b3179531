/** The services that requests go to, reached as the tunnel reaches them. */
import { isContainer } from "../../../config/container.ts";
import { serviceOf } from "../../../config/service.ts";
import { remedyOf } from "../../../error-catalogue.ts";
import type { IngressRule, Service } from "../../../types.ts";
import { checkRow, knownRow, messageOf } from "./row.ts";
import type { CheckPeers, CheckPlan, CheckResult, OriginToCheck } from "./types.ts";

const ORIGIN_MS = 8_000;
/** Rules may be hundreds, and a check knocks at each door. */
const MAX_ORIGINS = 32;

/** Each address once, however many rules lead there. */
export function originsOf(rules: readonly IngressRule[]): readonly OriginToCheck[] {
  const origins = new Map<string, OriginToCheck>();
  for (const rule of rules) {
    for (const [index, service] of reachable(rule.service).entries()) {
      if (!origins.has(service)) origins.set(service, { service, rule, index });
    }
  }
  return [...origins.values()];
}

/** What can be knocked at: not what answers by itself, nor what the visitor chooses. */
function reachable(service: Service): readonly string[] {
  switch (service.kind) {
    case "url":
    case "unix":
    case "tcp":
      return [serviceOf(service) ?? ""];
    case "failover":
      return service.origins.map((origin) => serviceOf(origin) ?? "");
    default:
      return [];
  }
}

export async function checkOrigins(plan: CheckPlan, peers: CheckPeers): Promise<readonly CheckResult[]> {
  const { origins } = plan;
  if (origins.length === 0) {
    const head = { id: "origin", component: "Origin", target: "-" } as const;
    return [
      knownRow(head, {
        status: "skipped",
        details: "none is configured here; --url http://localhost:3000 would have it looked at",
      }),
    ];
  }
  const rows = origins.slice(0, MAX_ORIGINS).map((origin, index) =>
    checkRow({ id: `origin.${index + 1}`, component: "Origin", target: origin.service }, ORIGIN_MS, async (signal) => {
      try {
        return await peers.origin(origin, signal);
      } catch (error) {
        const action = remedyOf(error) ?? "start the service, or correct its address";
        const hint = isLoopback(origin.service) && isContainer(plan.environment) ? OWN_LOOPBACK : "";
        return { status: "failed", details: messageOf(error), action: `${action}${hint}` };
      }
    }),
  );
  return Promise.all(rows);
}

/** What whoever moves a tunnel into a container meets first. */
const OWN_LOOPBACK =
  "; inside a container, localhost is the container itself (in Kubernetes, the pod): the name of the service's container, or host.docker.internal, would lead out";

function isLoopback(service: string): boolean {
  return /\/\/(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])(?::|$)/.test(service);
}
