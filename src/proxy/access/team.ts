/** Where a team's tokens come from, and its keys (ingress § 7.7). */
import type { AccessPolicy } from "../../types.ts";

/** One label or more, of at most 63 characters each (RFC 1035 § 2.3.4): a name can lead to no other host than one below the suffix. */
const TEAM_NAME = /^(?!.{64})[a-z\d](?:[a-z\d-]*[a-z\d])?$/;

const SUFFIXES: ReadonlyMap<string, string> = new Map([
  ["", "cloudflareaccess.com"],
  ["fed", "fed.cloudflareaccess.com"],
]);

/** `iss` of the team's tokens; undefined when the policy names no team that could have any. */
export function issuerOf({ environment, teamName }: AccessPolicy): string | undefined {
  const suffix = SUFFIXES.get(environment);
  const name = teamName.toLowerCase();
  if (suffix === undefined || !name.split(".").every((label) => TEAM_NAME.test(label))) return undefined;
  return `https://${name}.${suffix}`;
}

export function certsUrlOf(issuer: string): URL {
  return new URL(`${issuer}/cdn-cgi/access/certs`);
}
