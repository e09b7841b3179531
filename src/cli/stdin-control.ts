/** `--stdin-control`: commands on stdin, one a line, as cloudflared takes them (wire § 10.6). */
import type { Readable } from "node:stream";
import type { Tunnel } from "../connector/api.ts";
import { parseDuration } from "../proxy/ingress/duration.ts";
import type { Logger } from "../types.ts";

const HELP = [
  "Supported command:",
  "reconnect [delay]",
  "- replaces one randomly chosen connection; with a delay it ends first, and comes back after that time",
];

/** Longer lines are no command. What has no end of a line must not fill the memory. */
const MAX_LINE = 1_024;

export interface StdinControlOptions {
  readonly stdin: Readable;
  readonly tunnel: Pick<Tunnel, "connections" | "reconnect">;
  readonly logger: Logger;
  /** In [0, 1). */
  readonly random: () => number;
}

/** Returns the function that ends it: stdin does not keep the process from ending any more. */
export function controlByStdin(options: StdinControlOptions): () => void {
  const { logger, stdin } = options;
  let line = "";
  const onData = (chunk: string | Buffer): void => {
    const pieces = (line + chunk.toString()).split("\n");
    line = (pieces.pop() ?? "").slice(0, MAX_LINE + 1);
    for (const piece of pieces) obey(piece.trim(), options);
  };
  // Who started the process may be gone: that is no reason to end.
  const onError = (): void => {};
  stdin.on("data", onData);
  stdin.on("error", onError);
  logger.info("Enabling control through stdin");
  return () => {
    stdin.off("data", onData);
    stdin.destroy();
  };
}

function obey(command: string, options: StdinControlOptions): void {
  const { logger } = options;
  const [, verb = "", argument = ""] = /^(\S*)\s*(.*)$/.exec(command) ?? [];
  if (verb === "") return;
  if (verb === "reconnect" && command.length <= MAX_LINE) {
    reconnect(argument, options);
    return;
  }
  if (verb !== "help") logger.info("Unknown command", { command: command.slice(0, 100) });
  for (const text of HELP) logger.info(text);
}

function reconnect(delay: string, { logger, random, tunnel }: StdinControlOptions): void {
  const pause = delay === "" ? 0 : parseDuration(delay);
  if (pause === undefined || pause < 0) {
    logger.error(`reconnect: "${delay.slice(0, 100)}" is no duration such as 500ms, 1s or 2m`);
    return;
  }
  const { connections } = tunnel;
  const serving = connections.filter(({ state }) => state === "registered");
  const pool = serving.length > 0 ? serving : connections;
  const chosen = pool[Math.floor(random() * pool.length)];
  if (chosen === undefined) {
    logger.info("There is no connection to replace");
    return;
  }
  const { connIndex } = chosen;
  logger.info(pause === 0 ? "Replacing a connection" : `Ending a connection for ${delay}`, { connIndex });
  tunnel.reconnect(connIndex, { pause });
}
