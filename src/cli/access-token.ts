/** An access token for a tunnel's management service, from Cloudflare's API, by cert.pem of `cloudflared login`. */
import { type ManagementResource, requestManagementToken } from "../account/management-token.ts";
import { readOriginCert } from "../account/origin-cert.ts";
import { awaitTextFile, expandHome, findOriginCert, readTextFile } from "../config/files.ts";
import type { Environment } from "../config/interpolate.ts";
import type { Waiting } from "../config/pipe.ts";
import { ConfigError } from "../config/problem.ts";
import { readVersion } from "../config/version.ts";

export interface AccessTokenPlan {
  readonly tunnelId: string;
  readonly resource: ManagementResource;
  readonly apiUrl: string;
  /** Default: where cloudflared looks for it. */
  readonly originCert: string | undefined;
  /** What would be right in the place of a cert.pem. */
  readonly instead: string;
}

export async function askAccessToken(plan: AccessTokenPlan, env: Environment, waiting: Waiting): Promise<string> {
  const { apiUrl, instead, originCert, resource, tunnelId } = plan;
  const path = originCert === undefined ? findOriginCert(env) : expandHome(originCert, env);
  if (path === undefined) {
    const text = `no cert.pem in cloudflared's directories; --origincert FILE${instead} would be right`;
    throw new ConfigError([{ where: "", text }]);
  }
  await awaitTextFile(path, "--origincert", waiting);
  const cert = readOriginCert(readTextFile(path, "--origincert"), path);
  const userAgent = `underpass/${readVersion()}`;
  return await requestManagementToken({ cert, apiUrl, tunnelId, resource, userAgent, signal: waiting.signal });
}
