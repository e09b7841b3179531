/** `underpass mock-edge`: an edge on this machine, until a signal ends it. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { nearest } from "../proxy/ingress/nearest.ts";
import { ConfigError, wrongValue } from "../config/problem.ts";
import { describeValue, Scrubber } from "../proxy/ingress/redact.ts";
import { type Fault, type MockEdge, type MockEdgeOptions, type QuickFault, startMockEdge } from "../mock-edge/index.ts";
import type { CliIo } from "./io.ts";
import { createLogger } from "./log.ts";

const HELP = `underpass mock-edge - an edge on this machine to test against

Usage:
  underpass mock-edge [flags]

Connectors dial it (underpass, or a real cloudflared), visitors come to its public URL. Ctrl-C ends it.

Flags:
  --host ADDRESS         address to listen on (default 127.0.0.1)
  --edge-port N          port for connectors (default: a free one)
  --public-port N        port for visitors (default: a free one)
  --quick-port N         port of the quick-tunnel API (default: a free one)
  --management-port N    port for tail and the dashboard's requests (default: a free one)
  --cacert-out FILE      writes the CA certificate there (default: a temporary file)
  --token-out FILE       writes a tunnel's token there (default: a temporary file)
  --location NAME        letters of the edge's locations (default LAB)
  --accept-any-token     registers tunnels that this edge did not issue too
  --local-config         tells connectors that their tunnel is locally managed
  --certificate KIND     valid, expired, wrong-name or untrusted (default valid)
  --fault KIND[:TIMES]   makes something go wrong; may be repeated. Of connections: close-at-accept, hold-at-accept,
                         no-preface, no-control-stream, malformed; of registrations: refuse, refuse-retry, duplicate, unauthorized,
                         exception, never-answer, uuid-length, unknown-result, end-control-stream,
                         reset-control-stream, drop; of registered connections: drop-after-5s, goaway, freeze,
                         end-control-after, reset-control-after; of the quick-tunnel API: rate-limit, error-1015,
                         not-json, quick-refuse
`;

const FAULTS: Readonly<Record<string, Fault>> = {
  "close-at-accept": { kind: "close-at-accept" },
  "hold-at-accept": { kind: "hold-at-accept" },
  "no-preface": { kind: "no-preface" },
  "no-control-stream": { kind: "no-control-stream" },
  malformed: { kind: "malformed" },
  refuse: { kind: "refuse", cause: "the mock edge refuses this connection" },
  "refuse-retry": { kind: "refuse", cause: "the mock edge is busy", shouldRetry: true, retryAfterMs: 5_000 },
  duplicate: { kind: "duplicate" },
  unauthorized: { kind: "refuse", cause: "Unauthorized: Tunnel not found" },
  exception: { kind: "exception", reason: "the mock edge throws" },
  "never-answer": { kind: "never-answer" },
  "uuid-length": { kind: "uuid-length", length: 5 },
  "unknown-result": { kind: "unknown-result" },
  "end-control-stream": { kind: "end-control-stream" },
  "reset-control-stream": { kind: "reset-control-stream" },
  drop: { kind: "drop" },
  "drop-after-5s": { kind: "drop-after", ms: 5_000 },
  goaway: { kind: "goaway" },
  freeze: { kind: "freeze" },
  "end-control-after": { kind: "end-control-after" },
  "reset-control-after": { kind: "reset-control-after" },
};

const QUICK_FAULTS: Readonly<Record<string, QuickFault>> = {
  "rate-limit": { kind: "rate-limit" },
  "error-1015": { kind: "error-1015" },
  "not-json": { kind: "not-json" },
  "quick-refuse": { kind: "refuse" },
};

/** Of the access token for the log. */
const ACCESS_SECONDS = 24 * 3600;

const CERTIFICATES = ["valid", "expired", "wrong-name", "untrusted"] as const;

const FLAGS = {
  host: { type: "string" },
  "edge-port": { type: "string" },
  "public-port": { type: "string" },
  "quick-port": { type: "string" },
  "management-port": { type: "string" },
  "cacert-out": { type: "string" },
  "token-out": { type: "string" },
  location: { type: "string" },
  "accept-any-token": { type: "boolean" },
  "local-config": { type: "boolean" },
  certificate: { type: "string" },
  fault: { type: "string", multiple: true },
  help: { type: "boolean", short: "h" },
} as const;

type Values = ReturnType<typeof parseArgs<{ options: typeof FLAGS }>>["values"];

function problem(where: string, found: unknown, expected: string): ConfigError {
  return new ConfigError([wrongValue(where, found, expected)]);
}

function parse(args: readonly string[]): Values {
  for (const arg of args) {
    const name = /^--([^=]+)/.exec(arg)?.[1];
    if (name === undefined || Object.hasOwn(FLAGS, name)) continue;
    const near = nearest(name, Object.keys(FLAGS));
    const hint = near === undefined ? "see underpass mock-edge --help" : `did you mean --${near}?`;
    throw new ConfigError([{ where: `--${name}`, text: `unknown flag; ${hint}` }]);
  }
  try {
    return parseArgs({ args: [...args], options: FLAGS, strict: true, allowPositionals: false }).values;
  } catch (error) {
    throw new ConfigError([
      { where: "", text: `mock-edge: ${error instanceof Error ? error.message : String(error)}` },
    ]);
  }
}

const PORTS = ["edge-port", "public-port", "quick-port", "management-port"] as const;

function port(values: Values, name: (typeof PORTS)[number]): number {
  const text = values[name] ?? "0";
  const value = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= 65_535)) throw problem(`--${name}`, text, "a port from 0 (a free one) to 65535");
  return value;
}

interface AskedFault {
  readonly fault: { readonly edge: Fault } | { readonly quick: QuickFault };
  readonly times: number;
}

function readFault(text: string): AskedFault {
  const [kind = "", count = "1"] = text.split(":");
  const times = /^[1-9]\d{0,5}$/.test(count) ? Number(count) : undefined;
  if (times === undefined) throw problem("--fault", text, "KIND or KIND:TIMES, such as refuse:3,");
  const edge = Object.hasOwn(FAULTS, kind) ? FAULTS[kind] : undefined;
  if (edge !== undefined) return { fault: { edge }, times };
  const quick = Object.hasOwn(QUICK_FAULTS, kind) ? QUICK_FAULTS[kind] : undefined;
  if (quick !== undefined) return { fault: { quick }, times };
  const near = nearest(kind, [...Object.keys(FAULTS), ...Object.keys(QUICK_FAULTS)]);
  throw problem("--fault", kind, near ?? "one of those that underpass mock-edge --help lists");
}

function readOptions(values: Values): MockEdgeOptions {
  const { host, location, certificate: wanted = "valid" } = values;
  const certificate = CERTIFICATES.find((kind) => kind === wanted);
  PORTS.forEach((name, index) => {
    const other = PORTS.slice(0, index).find((one) => port(values, one) === port(values, name));
    if (other === undefined || port(values, name) === 0) return;
    const text = `found ${port(values, name)}, which --${other} has; another port would be right`;
    throw new ConfigError([{ where: `--${name}`, text }]);
  });
  if (certificate === undefined) throw problem("--certificate", wanted, CERTIFICATES.join(", "));
  return {
    edgePort: port(values, "edge-port"),
    publicPort: port(values, "public-port"),
    quickPort: port(values, "quick-port"),
    managementPort: port(values, "management-port"),
    acceptAnyToken: values["accept-any-token"] === true,
    remotelyManaged: values["local-config"] !== true,
    certificate,
    ...(host === undefined ? {} : { host }),
    ...(location === undefined ? {} : { location }),
  };
}

/** Names the flag whose address can't be listened on; any other error stays as it is. */
function listenProblem(error: unknown, { host, ...values }: Values): unknown {
  if (!(error instanceof Error) || !("code" in error)) return error;
  const text = (reason: string, right: string) =>
    `can't be listened on (${error.message}): ${reason}; ${right} would be right`;
  const refuse = (where: string, found: unknown, rest: string): ConfigError =>
    new ConfigError([{ where, text: `found ${describeValue(found)}, which ${rest}` }]);
  const flag = PORTS.find((name) => "port" in error && Number(values[name] ?? 0) === error.port && error.port !== 0);
  switch (error.code) {
    case "EADDRINUSE":
      if (flag === undefined) return error;
      return refuse(`--${flag}`, values[flag], text("something else has it", "another port, or none for a free one,"));
    case "EACCES":
      if (flag === undefined) return error;
      return refuse(
        `--${flag}`,
        values[flag],
        text("this user may not", "a port from 1024 on, or none for a free one,"),
      );
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
    case "EINVAL":
      return refuse(
        "--host",
        host,
        text("this machine does not have it", "an address of this machine, such as 127.0.0.1,"),
      );
    default:
      return error;
  }
}

/** How to use it, with what this edge listens on. The token stays in its file. */
function usage(edge: MockEdge, cacert: string, tokenFile: string, accessFile: string): string {
  const edges = Array.from({ length: 4 }, () => `--edge ${edge.edgeAddress}`).join(" ");
  return `The mock edge is up. Ctrl-C ends it.

  Visitors come to      ${edge.publicUrl}
  Connectors dial       ${edge.edgeAddress} (QUIC and HTTP/2)
  They must trust       ${cacert}
  A tunnel's token      ${tokenFile}
  Quick-tunnel API      ${edge.quickUrl}
  tail comes to         ${edge.managementHost}

A named tunnel, by underpass and by cloudflared:

  underpass run ${edges} --cacert ${cacert} --token-file ${tokenFile} --url http://localhost:8080
  cloudflared tunnel ${edges} --cacert ${cacert} --no-autoupdate --url http://localhost:8080 run --token-file ${tokenFile}

A quick tunnel (its host name ends in .localhost; visit it on the port of the public URL):

  underpass --url http://localhost:8080 --quick-service ${edge.quickUrl} --edge ${edge.edgeAddress} --cacert ${cacert}

The log of the named tunnel, by underpass and by cloudflared (the access token is good for a day):

  export SSL_CERT_FILE=${cacert} TUNNEL_MANAGEMENT_TOKEN=$(cat ${accessFile})
  underpass tail --management-hostname ${edge.managementHost}
  cloudflared tail --management-hostname ${edge.managementHost}

`;
}

/** Runs until the first signal. Throws ConfigError for wrong flags. */
export async function mockEdge(args: readonly string[], io: CliIo): Promise<number> {
  const values = parse(args);
  if (values.help === true) {
    io.stdout.write(HELP);
    return 0;
  }
  const options = readOptions(values);
  const faults = (values.fault ?? []).map(readFault);
  const scrubber = new Scrubber();
  const logger = createLogger(
    {
      level: "info",
      format: "console",
      colours: io.stderr.isTTY === true && (io.env["NO_COLOR"] ?? "") === "",
      logfile: undefined,
      logDirectory: undefined,
      fileLevel: "info",
      fileFormat: "json",
      warnings: [],
    },
    io.stderr,
    scrubber,
  );
  let release = (): void => {};
  const stopped = new Promise<void>((resolve) => {
    release = io.onSignal(() => resolve());
  });
  let scratch: string | undefined;
  let edge: MockEdge | undefined;
  try {
    edge = await startMockEdge({ ...options, logger }).catch((error: unknown) => {
      throw listenProblem(error, values);
    });
    for (const { fault, times } of faults) {
      if ("edge" in fault) edge.fail(fault.edge, { times });
      else edge.failQuick(fault.quick, times);
    }
    const { token, tunnelId } = edge.issueTunnel();
    const access = edge.issueManagementToken(tunnelId, { expiresInSeconds: ACCESS_SECONDS });
    scrubber.add(token);
    scrubber.add(access);
    const cacert = values["cacert-out"] ?? (await edge.caFile());
    if (values["cacert-out"] !== undefined) await writeFile(cacert, edge.caPem);
    scratch = await mkdtemp(join(tmpdir(), "underpass-mock-edge-token-"));
    const tokenFile = values["token-out"] ?? join(scratch, "token");
    const accessFile = join(scratch, "access-token");
    await writeFile(tokenFile, `${token}\n`, { mode: 0o600 });
    await writeFile(accessFile, `${access}\n`, { mode: 0o600 });
    io.stdout.write(usage(edge, cacert, tokenFile, accessFile));
    await stopped;
    return 0;
  } finally {
    release();
    await edge?.close();
    if (scratch !== undefined) await rm(scratch, { recursive: true, force: true });
    await logger.end();
  }
}
