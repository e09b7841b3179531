/** The management service of a tunnel, as its proxy reaches it. */
import type { TunnelConfig } from "../config/tunnel-config.ts";
import type { LogTap } from "../health/management/log-tap.ts";
import { ManagementService } from "../health/management/service.ts";
import type { InternalOrigin } from "../proxy/internal-backend.ts";
import type { Logger } from "../types.ts";

const CLOUDFLARE = "management.argotunnel.com";
const FEDRAMP = { endpoint: "fed", hostname: "management.fed.argotunnel.com" };

export interface ManagedTunnel {
  readonly connectorId: string;
  readonly tunnelId: () => string | undefined;
  /** Prometheus text. */
  readonly metrics: () => string;
}

export interface TunnelManagement {
  /** Requests for it don't meet the ingress rules. */
  readonly origin: InternalOrigin;
  /** Ends every log stream. */
  close(): void;
}

export function createManagement(
  { identity, management }: Pick<TunnelConfig, "identity" | "management">,
  tap: LogTap,
  logger: Logger,
  tunnel: ManagedTunnel,
): TunnelManagement | undefined {
  if (management === undefined) return undefined;
  const { diagnostics, label, serviceAddress } = management;
  const credentials = identity.mode === "named" ? identity.credentials : undefined;
  const service = new ManagementService({
    tap,
    connectorId: tunnel.connectorId,
    served: () => ({ tunnelId: tunnel.tunnelId(), accountTag: credentials?.accountTag }),
    label,
    serviceAddress,
    metrics: diagnostics ? tunnel.metrics : undefined,
    logger,
  });
  const isFedramp = management.hostname === CLOUDFLARE && credentials?.endpoint === FEDRAMP.endpoint;
  return {
    origin: {
      hostname: isFedramp ? FEDRAMP.hostname : management.hostname,
      service: "management",
      listener: service.listener,
      upgrade: service.upgrade,
    },
    close: () => service.close(),
  };
}
