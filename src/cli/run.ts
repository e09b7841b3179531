/** Runs one tunnel until a signal or its final error: `underpass`, `underpass run`, `underpass tunnel …`. */
import { once } from "node:events";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expandHome } from "../config/files.ts";
import { ConfigError } from "../config/problem.ts";
import type { Scrubber } from "../proxy/ingress/redact.ts";
import type { TunnelConfig } from "../config/tunnel-config.ts";
import type { LocalTunnel, Tunnel, TunnelRuntime } from "../connector/api.ts";
import type { Logger } from "../types.ts";
import { drawBox } from "./box.ts";
import type { CliIo, ShutdownSignal } from "./io.ts";
import type { Loaded, LoadRequest } from "./load.ts";
import { checkNetwork, explainSilence } from "./late-check.ts";
import { LateLogger } from "./late-logger.ts";
import { keepPidFile } from "./pidfile.ts";
import type { Reloader, ReloadOptions } from "./reload.ts";
import { withoutEchoes } from "./signal-echo.ts";
import { logStart } from "./start-log.ts";
import { controlByStdin } from "./stdin-control.ts";
import { noSystemd, type Systemd, tellSystemd } from "./systemd.ts";

export type StartTunnel = (config: TunnelConfig, runtime: TunnelRuntime) => LocalTunnel;

export interface RunRequest {
  /** What the command line asked for; its file is read again when it changes. */
  readonly request: LoadRequest;
  readonly loaded: Loaded;
  readonly io: CliIo;
  readonly scrubber: Scrubber;
  readonly start: StartTunnel;
}

/** How long the first log lines may wait for the logger. */
const LOGGER_DELAY_MS = 150;

/** As Go names them. */
const SIGNAL_NAMES: Readonly<Record<ShutdownSignal | "SIGHUP", string>> = {
  SIGHUP: "hangup",
  SIGINT: "interrupt",
  SIGTERM: "terminated",
};

/** Resolves with the exit status: 0 after a graceful stop, 1 when the tunnel gave up. */
export async function runTunnel({ io, loaded, request, scrubber, start }: RunRequest): Promise<number> {
  const { plan, settings } = loaded;
  const { config } = plan;
  await assertBindable(config.edgeBindAddress, settings.get("edge-bind-address")?.where ?? "");
  const late = new LateLogger();
  logStart(late, config, settings, io.env);
  for (const note of plan.notes) late.info(note);
  for (const warning of plan.warnings) late.warn(warning);
  if (config.identity.mode === "quick") logQuick(late, config.identity.quickService);
  let release = () => {};
  let stopControl = () => {};
  let systemd = noSystemd;
  let removePidFile = async (): Promise<void> => {};
  let reload: Reload = { start: async () => {}, stop: () => {} };
  let settled: Promise<void> = Promise.resolve();
  let skipsPrechecks = (): boolean => false;
  let ended: Promise<Error | undefined>;
  try {
    const tunnel = start(config, { logger: late, scrub: (text) => scrubber.scrub(text) });
    if (io.env["NOTIFY_SOCKET"]) systemd = tellSystemd({ env: io.env, pid: process.pid, tunnel, logger: late });
    const stop = withoutEchoes(closer(tunnel, io, late, systemd));
    reload = reloadOnHangup({ request, loaded, tunnel, logger: late, io, scrubber }, systemd, () => stop("SIGHUP"));
    release = io.onSignal(stop);
    late.info(`Generated Connector ID: ${tunnel.connectorId}`);
    const isHttp2 = config.protocol === "http2" || config.edgeProxy !== undefined;
    late.info(`Initial protocol ${isHttp2 ? "http2" : "quic"}`);
    if (config.identity.mode === "quick") {
      tunnel.on("url", (url) => announce(url, io, late));
    }
    const pidfile = settings.string("pidfile");
    if (pidfile !== undefined) {
      removePidFile = keepPidFile({ path: expandHome(pidfile, io.env), pid: process.pid, tunnel, logger: late });
    }
    if (settings.bool("stdin-control")) {
      stopControl = controlByStdin({ stdin: io.stdin, tunnel, logger: late, random: Math.random });
    }
    // Both report the final error; `finished` is the one that is looked at.
    settled = tunnel.registered.catch(() => {});
    skipsPrechecks = () => tunnel.skipsPrechecks;
    ended = tunnel.finished.then(() => undefined, asError);
  } catch (error) {
    ended = Promise.resolve(asError(error));
  }
  // Loading pino takes longer than registering with an edge that is near, so it waits for that, but for no more than a moment.
  await Promise.race([settled, ended, sleep(LOGGER_DELAY_MS, undefined, { ref: false })]);
  const { createLogger } = await import("./log.ts");
  const logger = createLogger(loaded.log, io.stderr, scrubber);
  late.attach(logger);
  const stopExplaining = settings.bool("no-prechecks")
    ? () => {}
    : explainSilence({
        registered: settled,
        look: () => checkNetwork(config, io),
        isUnwanted: skipsPrechecks,
        logger,
      });
  await reload.start();
  const error = await ended;
  reload.stop();
  stopControl();
  stopExplaining();
  await Promise.all([systemd.end(), removePidFile()]);
  if (error === undefined) logger.info("Tunnel server stopped");
  else {
    const { remedyOf } = await import("../error-catalogue.ts");
    logger.error("Initiating shutdown", { error, remedy: remedyOf(error) });
  }
  release();
  await logger.end();
  return error === undefined ? 0 : 1;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

function logQuick(logger: Logger, service: string): void {
  logger.info(
    "Quick tunnels are for trying things out: they need no account, come without any promise of uptime, and are subject to " +
      "Cloudflare's terms (https://www.cloudflare.com/website-terms/). A named tunnel is for everything else.",
  );
  logger.info(`Requesting new quick Tunnel on ${new URL(service).host}...`);
}

/** The first signal drains, the second ends the drain, the third does not wait for anything. */
function closer(
  tunnel: Tunnel,
  io: CliIo,
  logger: Logger,
  systemd: Systemd,
): (signal: ShutdownSignal | "SIGHUP") => void {
  let count = 0;
  return (signal) => {
    count++;
    if (count === 1) {
      logger.info(`Initiating graceful shutdown due to signal ${SIGNAL_NAMES[signal]} ...`);
      systemd.stopping();
      void tunnel.close();
    } else {
      logger.info(`Signal ${SIGNAL_NAMES[signal]} again: requests in progress are cut off`);
      void tunnel.close({ grace: 0 });
    }
    if (count > 2) io.kill();
  };
}

interface Reload {
  /** Watches the file from now on. */
  start(): Promise<void>;
  stop(): void;
}

/** SIGHUP reads the configuration file again. Without one, and when it tells that the terminal is gone, it ends the tunnel. */
function reloadOnHangup(options: ReloadOptions, systemd: Systemd, close: () => void): Reload {
  const { io, loaded } = options;
  let reloader: Reloader | undefined;
  let isWanted = false;
  const reloadNow = (reloader: Reloader): void => void systemd.reload(() => reloader.reload("signal"));
  const release = io.onHangup((terminalGone) => {
    if (terminalGone || loaded.settings.file === undefined) close();
    else if (reloader === undefined) isWanted = true;
    else reloadNow(reloader);
  });
  return {
    async start() {
      if (loaded.settings.file === undefined) return;
      const { createReloader } = await import("./reload.ts");
      reloader = createReloader(options);
      if (isWanted && reloader !== undefined) reloadNow(reloader);
    },
    stop() {
      release();
      reloader?.close();
    },
  };
}

/** The address in a box on stderr, and alone on stdout, each time it is new. */
function announce(url: string, io: CliIo, logger: Logger): void {
  const lines = ["Your quick Tunnel has been created! It may take a moment until it can be reached at:", url];
  for (const line of drawBox(lines)) logger.info(line);
  if (!io.stdout.destroyed) io.stdout.write(`${url}\n`);
}

/** An address that this machine does not have would only show as connections that fail forever. */
async function assertBindable(address: string | undefined, where: string): Promise<void> {
  if (address === undefined) return;
  const server = createServer();
  try {
    server.listen(0, address);
    await once(server, "listening");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConfigError([
      {
        where,
        text: `found "${address}", which can't be bound (${reason}); an address of this machine would be right`,
      },
    ]);
  } finally {
    server.close();
  }
}
