/** `underpass management token`: an access token for one part of a tunnel's management service. cloudflared has it, too, and hides it. */
import { parseArgs } from "node:util";
import { MANAGEMENT_RESOURCES, requestManagementToken } from "../account/management-token.ts";
import { readOriginCert } from "../account/origin-cert.ts";
import { awaitTextFile, expandHome, findOriginCert, readTextFile } from "../config/files.ts";
import { ConfigError, type ConfigProblem, wrongValue } from "../config/problem.ts";
import { parseUuid } from "../config/uuid.ts";
import { readVersion } from "../config/version.ts";
import { nearest } from "../proxy/ingress/nearest.ts";
import type { Scrubber } from "../proxy/ingress/redact.ts";
import type { CliIo } from "./io.ts";
import { waitingOf } from "./load.ts";

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
  const { positionals, values } = parse(args);
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
  const apiUrl = values["api-url"] || io.env["TUNNEL_API_URL"] || "https://api.cloudflare.com/client/v4";
  if (!/^https?:\/\//i.test(apiUrl) || !URL.canParse(apiUrl)) {
    problems.push(wrongValue("--api-url", apiUrl, "a URL such as https://api.cloudflare.com/client/v4"));
  }
  const named = values.origincert || io.env["TUNNEL_ORIGIN_CERT"] || undefined;
  const path = named === undefined ? findOriginCert(io.env) : expandHome(named, io.env);
  if (path === undefined) {
    problems.push({ where: "", text: "no cert.pem in cloudflared's directories; --origincert FILE would be right" });
  }
  if (problems.length > 0 || resource === undefined || tunnelId === undefined || path === undefined) {
    throw new ConfigError(problems);
  }
  const stop = new AbortController();
  const release = io.onSignal(() => stop.abort());
  try {
    await awaitTextFile(path, "--origincert", waitingOf(io, scrubber, stop.signal));
    const cert = readOriginCert(readTextFile(path, "--origincert"), path);
    const userAgent = `underpass/${readVersion()}`;
    const token = await requestManagementToken({ cert, apiUrl, tunnelId, resource, userAgent, signal: stop.signal });
    io.stdout.write(`${JSON.stringify({ token })}\n`);
    return 0;
  } catch (error) {
    if (stop.signal.aborted) return 0;
    throw error;
  } finally {
    release();
  }
}

function parse(args: readonly string[]) {
  for (const arg of args) {
    const name = /^--?([a-z][a-z-]+)(?:=.*)?$/s.exec(arg)?.[1];
    if (name === undefined || Object.hasOwn(FLAGS, name)) continue;
    const near = nearest(name, Object.keys(FLAGS));
    const hint = near === undefined ? "see underpass management --help" : `did you mean --${near}?`;
    throw new ConfigError([{ where: `--${name}`, text: `unknown flag; ${hint}` }]);
  }
  // Go takes one dash, too.
  const long = args.map((arg) => (/^-[a-z][a-z-]/.test(arg) ? `-${arg}` : arg));
  try {
    return parseArgs({ args: long, options: FLAGS, strict: true, allowPositionals: true });
  } catch (error) {
    throw new ConfigError([
      { where: "", text: `management: ${error instanceof Error ? error.message : String(error)}` },
    ]);
  }
}
