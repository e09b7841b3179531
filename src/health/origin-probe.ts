/** Whether the origins can be reached, as a part of the health check. */
import type { Environment } from "../proxy/environment-proxy.ts";
import type { IngressRule } from "../types.ts";
import { knockAtOrigin } from "./diagnostics/checks/knock.ts";
import { originsOf } from "./diagnostics/checks/origin-checks.ts";
import type { OriginReading } from "./monitor.ts";

const LIMIT_MS = 8_000;
/** Rules may be hundreds, and each door is knocked at every time. */
const MAX_ORIGINS = 32;

export interface OriginProbeOptions {
  readonly environment: Environment;
  readonly roots: () => readonly string[];
}

/** Connects to each as the tunnel does; a web service is asked for the head of `/`, and any answer will do. Never rejects. */
export async function probeOrigins(
  rules: readonly IngressRule[],
  options: OriginProbeOptions,
  signal: AbortSignal,
): Promise<readonly OriginReading[]> {
  const origins = originsOf(rules).slice(0, MAX_ORIGINS);
  return await Promise.all(
    origins.map(async (origin): Promise<OriginReading> => {
      const began = performance.now();
      let problem: string | undefined;
      const limit = AbortSignal.timeout(LIMIT_MS);
      try {
        await knockAtOrigin(origin, options, AbortSignal.any([signal, limit]));
      } catch (error) {
        const reason = limit.aborted ? `no answer within ${LIMIT_MS / 1000} s` : messageOf(error);
        problem = `the origin ${origin.service} is down: ${reason}`;
      }
      return { origin: origin.service, problem, milliseconds: performance.now() - began };
    }),
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
