/** `underpass tail`: the log of a connector that runs somewhere else, through Cloudflare. */
import type { WebSocket } from "ws";
import type { Waiting } from "../config/pipe.ts";
import { parseUuid } from "../config/uuid.ts";
import { readVersion } from "../config/version.ts";
import { certFileProblem, trustAnchors } from "../edge/roots.ts";
import { readManagementToken } from "../health/management/access-token.ts";
import { CLOSE_CODES } from "../health/management/log-stream.ts";
import type { LogRecord } from "../health/management/log-tap.ts";
import { textOf } from "../health/management/log-socket.ts";
import { readLogs, startMessage } from "../health/management/messages.ts";
import type { Scrubber } from "../proxy/ingress/redact.ts";
import type { CliIo } from "./io.ts";
import { waitingOf } from "./load.ts";
import { readTailFlags, TAIL_HELP, type TailPlan } from "./tail-flags.ts";
import { dialTail, TailEndedError, TailRefusedError } from "./tail-socket.ts";
import { untilSignal } from "./until-signal.ts";

/** FedRAMP has a host name of its own, which the token's issuer tells. */
const FEDRAMP = { issuer: "fed-tunnelstore", host: "management.fed.argotunnel.com" };
/** A connector pings every 15 s; longer silence is a connection that is no more. */
const SILENCE_MS = 60_000;
/** How long the other side may take to close in its turn. */
const CLOSE_MS = 1_000;

/** 0 where it was ended here, by a signal or because stdout took no more. Throws where something went wrong. */
export async function tail(args: readonly string[], io: CliIo, scrubber: Scrubber): Promise<number> {
  const plan = readTailFlags(args, io.env);
  if (plan === "help") {
    io.stdout.write(TAIL_HELP);
    return 0;
  }
  if (plan.token !== undefined) scrubber.add(plan.token);
  return await untilSignal(io, async (signal) => {
    const waiting = waitingOf(io, scrubber, signal);
    const token = plan.command === "tail" && plan.token !== undefined ? plan.token : await askToken(plan, io, waiting);
    if (plan.command === "token") {
      io.stdout.write(`${JSON.stringify({ token })}\n`);
      return 0;
    }
    scrubber.add(token);
    const problem = certFileProblem(io.env);
    if (problem !== undefined) waiting.tell(problem);
    const ws = await dialTail({
      url: urlOf(plan, token),
      headers: {
        "user-agent": `underpass/${readVersion()}`,
        ...(plan.trace === undefined ? {} : { "cf-trace-id": plan.trace }),
      },
      ca: trustAnchors({ ...io.env }),
      env: io.env,
      signal,
    });
    await follow(ws, plan, io, signal);
    return 0;
  });
}

async function askToken(plan: TailPlan, io: CliIo, waiting: Waiting): Promise<string> {
  const { askAccessToken } = await import("./access-token.ts");
  const { apiUrl, originCert, tunnelId = "" } = plan;
  const instead = ", or an access token by --token,";
  return await askAccessToken({ apiUrl, originCert, tunnelId, resource: "logs", instead }, io.env, waiting);
}

function urlOf({ connectorId, host, tunnelId }: TailPlan, token: string): URL {
  const claims = readManagementToken(token);
  // The connector would say so, too; but by then the token is on its way to somebody.
  if (claims === undefined) throw new TailRefusedError("the access token is none: no JWT of Cloudflare's for a tunnel");
  // Cloudflare would follow the token's tunnel, whatever was asked for here.
  const ofToken = parseUuid(claims.tunnelId) ?? "no UUID";
  if (tunnelId !== undefined && ofToken !== tunnelId) {
    const advice = "without a UUID the token's tunnel is followed, without a token cert.pem is used";
    throw new TailRefusedError(`the access token is for another tunnel (${ofToken}) than ${tunnelId}; ${advice}`);
  }
  const url = new URL(`wss://${claims.issuer === FEDRAMP.issuer ? FEDRAMP.host : host}/logs`);
  url.searchParams.set("access_token", token);
  if (connectorId !== undefined) url.searchParams.set("connector_id", connectorId);
  return url;
}

/** Resolves once it was ended here; rejects when the other side ended it. */
function follow(ws: WebSocket, plan: TailPlan, io: CliIo, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    let silence: NodeJS.Timeout | undefined;
    let failure: Error | undefined;
    const heard = (): void => {
      clearTimeout(silence);
      silence = setTimeout(() => {
        failure = new TailEndedError(`the connector has not given a sign of life for ${SILENCE_MS / 1000} s`);
        ws.terminate();
      }, SILENCE_MS);
    };
    const leave = (): void => {
      clearTimeout(silence);
      // Its answer is not heard otherwise.
      ws.resume();
      ws.close(CLOSE_CODES.normal);
      setTimeout(() => ws.terminate(), CLOSE_MS).unref();
    };
    let left = false;
    const end = (): void => {
      left = true;
      leave();
    };
    const write = (text: string): void => {
      if (left || io.stdout.write(text) || ws.isPaused) return;
      // Whoever reads stdout is slow: the connector leaves entries out, and says so.
      clearTimeout(silence);
      ws.pause();
      io.stdout.once("drain", () => {
        ws.resume();
        heard();
      });
    };
    ws.on("message", (data, isBinary) => {
      heard();
      const logs = isBinary ? undefined : readLogs(textOf(data));
      for (const record of logs ?? []) write(plan.json ? jsonLine(record) : textLine(record));
    });
    ws.on("ping", heard);
    ws.on("error", (error) => {
      failure ??= new TailEndedError(`the connection broke off: ${error.message}`);
    });
    ws.once("close", (code, reason) => {
      clearTimeout(silence);
      signal.removeEventListener("abort", end);
      io.stdout.off("error", end);
      if (left) resolve();
      else reject(failure ?? endedBy(code, reason.toString()));
    });
    signal.addEventListener("abort", end, { once: true });
    // `underpass tail | head`: nobody reads any more; or the disk is full, of which the command line tells.
    io.stdout.once("error", end);
    if (signal.aborted) end();
    ws.send(startMessage(plan.filters));
    heard();
  });
}

function endedBy(code: number, reason: string): Error {
  const said = reason === "" ? "" : `: ${oneLine(reason)}`;
  switch (code) {
    case CLOSE_CODES.sessionLimit:
      return new TailRefusedError(`somebody else follows the log of this connector (${code})${said}`);
    case CLOSE_CODES.invalidCommand:
      return new TailRefusedError(`the connector does not take the filters (${code})${said}`);
    case CLOSE_CODES.normal:
      return new TailEndedError(`the connector has ended the session (${code})${said}`);
    case CLOSE_CODES.goingAway:
      return new TailEndedError(`the connector ends (${code})${said}`);
    default:
      return new TailEndedError(`the session has ended (${code})${said}`);
  }
}

/** As cloudflared's tail writes it. */
function textLine({ event, fields, level, message, time }: LogRecord): string {
  return `${oneLine(`${time} ${level} ${event} ${message}`)} ${oneLine(JSON.stringify(fields))}\n`;
}

function jsonLine({ event, fields, level, message, time }: LogRecord): string {
  return `${oneLine(JSON.stringify({ time, level, message, event, fields }))}\n`;
}

/** Text from outside can't forge a second line, nor speak to the terminal. */
function oneLine(text: string): string {
  return text.replace(
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
