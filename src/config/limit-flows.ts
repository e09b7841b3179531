/** The owner's limit of flows counts before what any configuration says. */
import type { Ingress } from "../types.ts";

export function limitFlows(ingress: Ingress, maxActiveFlows: number | undefined): Ingress {
  if (maxActiveFlows === undefined) return ingress;
  return { ...ingress, warpRouting: { ...ingress.warpRouting, maxActiveFlows } };
}
