/** The WebSocket of `underpass tail`: from the handshake to its end, with errors that say what they mean. */
import type { IncomingMessage } from "node:http";
import WebSocket from "ws";
import { UnderpassError } from "../errors.ts";
import type { Environment } from "../proxy/environment-proxy.ts";
import { redactLikely } from "../proxy/ingress/redact.ts";
import { TailWay } from "./tail-way.ts";

/** No connector takes the request, or nobody answers. */
export class TailUnreachableError extends UnderpassError {
  constructor(message: string, cause?: unknown) {
    super("ERR_UNDERPASS_TAIL_UNREACHABLE", message, cause === undefined ? undefined : { cause });
  }
}

/** Cloudflare or the connector refuses the access token, or the session. */
export class TailRefusedError extends UnderpassError {
  constructor(message: string) {
    super("ERR_UNDERPASS_TAIL_REFUSED", message);
  }
}

/** The log ended, and not because somebody here wanted it to. */
export class TailEndedError extends UnderpassError {
  constructor(message: string) {
    super("ERR_UNDERPASS_TAIL_ENDED", message);
  }
}

export interface TailDial {
  /** wss. */
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Trust anchors, PEM. */
  readonly ca: readonly string[];
  readonly env: Environment;
  readonly signal: AbortSignal;
}

/** From the first packet to the open WebSocket: cloudflared's time for the edge. */
const HANDSHAKE_MS = 15_000;
const MAX_ANSWER_BYTES = 64 * 1024;
/** An entry is a few hundred bytes; a line of the connector's log is bounded, too. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/** Resolves with an open WebSocket. Rejects with TailUnreachableError, TailRefusedError, or the signal's reason. */
export function dialTail({ ca, env, headers, signal, url }: TailDial): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    const way = new TailWay(url, env);
    if (way.problem !== undefined) throw new TailUnreachableError(way.problem);
    const ws = new WebSocket(url, {
      headers,
      maxPayload: MAX_MESSAGE_BYTES,
      perMessageDeflate: false,
      createConnection: () => way.connect(ca),
    });
    const abort = (): void => ws.terminate();
    signal.addEventListener("abort", abort, { once: true });
    let lateness: string | undefined;
    const timer = setTimeout(() => {
      lateness = way.lateness(HANDSHAKE_MS / 1000);
      ws.terminate();
    }, HANDSHAKE_MS);
    const settle = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    };
    ws.once("open", () => {
      settle();
      resolve(ws);
    });
    ws.on("error", (cause) => {
      settle();
      if (signal.aborted) reject(signal.reason as Error);
      else reject(new TailUnreachableError(lateness ?? way.failure(cause), cause));
    });
    ws.once("unexpected-response", (_request, response) => {
      void refusalOf(response, url.host).then((error) => {
        settle();
        reject(error);
        ws.terminate();
      });
    });
  });
}

async function refusalOf(response: IncomingMessage, host: string): Promise<Error> {
  const { statusCode = 0 } = response;
  let body = "";
  response.setEncoding("utf8");
  try {
    for await (const chunk of response) {
      body += String(chunk);
      if (body.length > MAX_ANSWER_BYTES) break;
    }
  } catch {
    // What came has to do.
  }
  if (statusCode === 530) {
    return new TailUnreachableError(
      "no connector of this tunnel is reachable (HTTP status 530): it does not run, its version has no log streams, or --connector-id names one that is gone",
    );
  }
  const said = errorsOf(body);
  if (said !== "") return new TailRefusedError(`${host} refused the request (HTTP status ${statusCode}): ${said}`);
  return new TailUnreachableError(`${host} answered with HTTP status ${statusCode}, not with a WebSocket`);
}

/** `(code) message` of each. They come from outside. */
function errorsOf(body: string): string {
  try {
    const { errors } = JSON.parse(body) as { errors: readonly { code: unknown; message: unknown }[] };
    const texts = errors.slice(0, 5).map(({ code, message }) => `(${String(code)}) ${String(message).slice(0, 200)}`);
    return redactLikely(texts.join("; ")).replaceAll(/\p{Cc}+/gu, " ");
  } catch {
    return "";
  }
}
