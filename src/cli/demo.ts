/** `underpass demo`, which `npm start` runs: the mock edge, a connector with four connections to it and a small origin, all on loopback. */
import { parseArgs } from "node:util";
import { defaultTunnelConfig } from "../config/defaults.ts";
import { parseToken } from "../config/token.ts";
import { ConfigError } from "../config/problem.ts";
import { startTunnel } from "../connector/tunnel.ts";
import { startMockEdge } from "../mock-edge/index.ts";
import type { RequestOutcome } from "../types.ts";
import { drawBox } from "./box.ts";
import { demoListener, demoUpgrade } from "../proxy/hello-world/listener.ts";
import type { CliIo } from "./io.ts";
import { withoutEchoes } from "./signal-echo.ts";
import { defaultOriginRequest, singleService } from "../proxy/ingress/defaults.ts";

/** As cloudflared opens them. */
const CONNECTIONS = 4;

function portOf(args: readonly string[]): number {
  const { values } = parseArgs({ args: [...args], options: { port: { type: "string" } }, allowPositionals: false });
  const port = Number(values.port ?? 0);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new ConfigError([
      { where: "--port", text: `found ${JSON.stringify(values.port)}; a port from 0 to 65535 would be right` },
    ]);
  }
  return port;
}

function requestLine({ method, path, status, milliseconds, connIndex, kind }: RequestOutcome): string {
  const what = kind === "http" ? method : kind;
  return `${what} ${path} -> ${status} in ${milliseconds.toFixed(0)} ms over connection ${connIndex}\n`;
}

/** Resolves with the exit status once a signal has ended the demo. */
export async function demo(args: readonly string[], io: CliIo): Promise<number> {
  const publicPort = portOf(args);
  const say = (line: string): void => void io.stderr.write(line);
  const edge = await startMockEdge({ publicPort });
  const tunnel = startTunnel(
    {
      ...defaultTunnelConfig,
      identity: { mode: "named", credentials: parseToken(edge.issueToken()), hostname: undefined },
      ingress: singleService({ kind: "listener", listener: demoListener, upgrade: demoUpgrade }, defaultOriginRequest),
      edge: Array.from({ length: CONNECTIONS }, () => edge.edgeAddress),
      cacert: edge.caPem,
    },
    {},
  );
  let isDraining = false;
  const stop = withoutEchoes(() => {
    if (!isDraining) say("Draining: requests in flight are finished, new ones are refused.\n");
    void tunnel.close(isDraining ? { grace: 0 } : {});
    isDraining = true;
  });
  const release = io.onSignal(stop);
  try {
    say(`Mock edge on ${edge.edgeAddress}\n`);
    tunnel.on("registered", ({ connIndex, location }) => {
      say(`Connection ${connIndex} registered at ${location ?? "an unnamed place"}\n`);
    });
    tunnel.on("request", (outcome) => say(requestLine(outcome)));
    await edge.registered(CONNECTIONS);
    for (const line of drawBox(["A demo page is served through the tunnel at", edge.publicUrl, "Ctrl-C ends it."]))
      say(`${line}\n`);
    io.stdout.write(`${edge.publicUrl}\n`);
    await tunnel.finished;
    say("Drained.\n");
    return 0;
  } finally {
    release();
    await tunnel.close({ grace: 0 });
    await edge.close();
  }
}
