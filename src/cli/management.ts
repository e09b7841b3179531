/** `underpass management token`: an access token for one part of a tunnel's management service. cloudflared has it, too, and hides it. */
import { MANAGEMENT_RESOURCES } from "../account/management-token.ts";
import { ConfigError, type ConfigProblem, wrongValue } from "../config/problem.ts";
import { parseUuid } from "../config/uuid.ts";
import type { Scrubber } from "../proxy/ingress/redact.ts";
import { askAccessToken } from "./access-token.ts";
import type { CliIo } from "./io.ts";
import { waitingOf } from "./load.ts";
import { parseOwnFlags } from "./own-flags.ts";
import { untilSignal } from "./until-signal.ts";

const FLAGS = {
  resource: { type: "string" },
  origincert: { type: "string" },
  "api-url": { type: "string" },
  // cloudflared's, for its own lines; here there are none but errors.
  loglevel: { type: "string" },
  output: { type: "string" },
  help: { type: "boolean", short: "h" },
} as const;

/** Prints it to stdout; 0, also where a signal ended it. Throws where there is none. */
export async function management(args: readonly string[], io: CliIo, scrubber: Scrubber): Promise<number> {
  const { positionals, values } = parseOwnFlags("management", args, FLAGS);
  const [command, ref, ...rest] = positionals;
  if (values.help === true || command === undefined) {
    const { helpFor } = await import("./help.ts");
    io.stdout.write(helpFor(["management"]));
    return 0;
  }
  const problems: ConfigProblem[] = [];
  if (command !== "token" || rest.length > 0) {
    const text = "underpass management has one command: underpass management token --resource RESOURCE TUNNEL-ID";
    problems.push({ where: "", text });
  }
  const resource = MANAGEMENT_RESOURCES.find((one) => one === values.resource);
  if (resource === undefined) problems.push(wrongValue("--resource", values.resource, "logs, host_details or admin"));
  const tunnelId = parseUuid(ref ?? "");
  if (tunnelId === undefined) problems.push(wrongValue("the tunnel", ref, "its UUID"));
  if (!["default", "json"].includes(values.output ?? "json")) {
    problems.push(wrongValue("--output", values.output, '"default" or "json"'));
  }
  const apiUrl = values["api-url"] || io.env["TUNNEL_API_URL"] || "https://api.cloudflare.com/client/v4";
  if (!/^https?:\/\//i.test(apiUrl) || !URL.canParse(apiUrl)) {
    problems.push(wrongValue("--api-url", apiUrl, "a URL such as https://api.cloudflare.com/client/v4"));
  }
  if (problems.length > 0 || resource === undefined || tunnelId === undefined) throw new ConfigError(problems);
  return await untilSignal(io, async (signal) => {
    const originCert = values.origincert || io.env["TUNNEL_ORIGIN_CERT"] || undefined;
    const plan = { apiUrl, originCert, tunnelId, resource, instead: "" };
    const token = await askAccessToken(plan, io.env, waitingOf(io, scrubber, signal));
    io.stdout.write(`${JSON.stringify({ token })}\n`);
    return 0;
  });
}
