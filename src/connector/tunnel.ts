/** Starts a tunnel with its real parts; everything below takes them as arguments. */
import { readVersion } from "../config/version.ts";
import type { TunnelConfig } from "../config/tunnel-config.ts";
import { trustAnchors } from "../edge/roots.ts";
import { LogTap } from "../health/management/log-tap.ts";
import { createProbe } from "../health/probe.ts";
import { createMemoryBudget } from "../protocol/memory-budget/budget.ts";
import { createProxy } from "../proxy/proxy.ts";
import { createRegistrationClient } from "../rpc/registration-client.ts";
import type { LogFields, Logger } from "../types.ts";
import type { LocalTunnel, TunnelRuntime } from "./api.ts";
import { EdgeAddresses } from "./edge-addresses.ts";
import { createEdgeDial } from "./edge-dial.ts";
import { EdgeRecords } from "./edge-records.ts";
import { namedIdentity, QuickIdentity } from "./identity.ts";
import { secretsOf } from "./known-secrets.ts";
import { createManagement } from "./management.ts";
import { LastGoodAddresses } from "./last-good-addresses.ts";
import type { TunnelParts } from "./parts.ts";
import { RunningTunnel } from "./running-tunnel.ts";

const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/**
 * Starts a tunnel and returns at once; `registered` and the events tell what becomes of it. Throws EdgeTlsError where
 * `cacert` holds no certificate, or post-quantum key exchange is wanted of a Node.js without it.
 */
export function startTunnel(config: TunnelConfig, runtime: TunnelRuntime = {}): LocalTunnel {
  const target = runtime.logger === undefined ? silentLogger : guardLogger(runtime.logger);
  const tap = new LogTap({ target, scrub: runtime.scrub ?? secretsOf(config) });
  const { logger } = tap;
  for (const warning of runtime.warnings ?? []) logger.warn(warning);
  const tunnel = new RunningTunnel(config, runtime, realParts(config, runtime, tap));
  tunnel.start();
  return tunnel;
}

/** A logger that throws must not end a tunnel. */
function guardLogger(logger: Logger): Logger {
  const guard =
    (level: keyof Logger) =>
    (message: string, fields?: LogFields): void => {
      try {
        logger[level](message, fields);
      } catch {
        // There is nobody left to tell.
      }
    };
  return { debug: guard("debug"), info: guard("info"), warn: guard("warn"), error: guard("error") };
}

/** Entries of `edge` may be anybody's: Cloudflare's records are not about them, nor does a disk remember them. */
function createEdgeSource(config: TunnelConfig, logger: Logger): Pick<TunnelParts, "addresses" | "records"> {
  const { edge, identity, stateDirectory } = config;
  const { random } = Math;
  const isStatic = edge.length > 0;
  const region = config.region ?? (identity.mode === "named" ? identity.credentials.endpoint : undefined);
  const lastGood =
    stateDirectory === undefined || isStatic ? undefined : new LastGoodAddresses(stateDirectory, region, logger);
  return {
    addresses: new EdgeAddresses({ config, region, random, logger, lastGood }),
    records: isStatic ? undefined : new EdgeRecords({ random, logger }),
  };
}

function realParts(config: TunnelConfig, runtime: TunnelRuntime, logTap: LogTap): TunnelParts {
  const { logger } = logTap;
  const { dnsResolvers, errorPage, identity, ingress, requestLog, tags } = config;
  const version = readVersion();
  const memory = createMemoryBudget(config.memoryLimitBytes);
  const userAgent = `underpass/${version}`;
  const edge = createEdgeSource(config, logger);
  const isQuicWithdrawn = (): boolean => edge.records?.quicWithdrawn === true;
  const { choice, dial, initialProtocol } = createEdgeDial(config, memory, logger, process.env, isQuicWithdrawn);
  return {
    version,
    logger,
    random: Math.random,
    ...edge,
    dial,
    initialProtocol,
    protocolChoice: choice,
    createRegistrationClient,
    createIdentity: (announce) => {
      if (identity.mode === "named") return namedIdentity(identity.credentials, identity.hostname);
      const request = async (signal: AbortSignal) => {
        const { requestQuickTunnel } = await import("../account/quick-tunnel.ts");
        return await requestQuickTunnel({ service: identity.quickService, userAgent, signal });
      };
      return new QuickIdentity(request, ({ hostname }) => announce(hostname), logger);
    },
    createProxy: (options) =>
      createProxy({
        ...options,
        ingress,
        tags,
        errorPage,
        dnsResolvers,
        requestLog,
        logTap,
        originRoots: () => trustAnchors(process.env),
      }),
    createManagement: (tunnel) => createManagement(config, logTap, logger, tunnel),
    memory,
    probe:
      runtime.probe ??
      createProbe({
        userAgent,
        serviceToken: config.healthCheck.serviceToken,
        ...(runtime.probeLookup === undefined ? {} : { lookup: runtime.probeLookup }),
      }),
    probeOrigins: async (rules, signal) => {
      // Not before the first check that asks for it.
      const { probeOrigins } = await import("../health/origin-probe.ts");
      return await probeOrigins(rules, { environment: process.env, roots: () => trustAnchors(process.env) }, signal);
    },
  };
}
