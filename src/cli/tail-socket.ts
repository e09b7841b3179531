/** The WebSocket of `underpass tail`: from the handshake to its end, with errors that say what they mean. */
import type { IncomingMessage } from "node:http";
import net from "node:net";
import tls from "node:tls";
import WebSocket from "ws";
import { UnderpassError } from "../errors.ts";
import { type Environment, environmentProxy } from "../proxy/environment-proxy.ts";
import { redactLikely } from "../proxy/ingress/redact.ts";
import { ProxyTunnel } from "../proxy/proxy-tunnel.ts";

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

const HANDSHAKE_MS = 30_000;
const MAX_ANSWER_BYTES = 64 * 1024;
/** An entry is a few hundred bytes; a line of the connector's log is bounded, too. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/** Resolves with an open WebSocket. Rejects with TailUnreachableError, TailRefusedError, or the signal's reason. */
export function dialTail({ ca, env, headers, signal, url }: TailDial): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(url, {
      headers,
      handshakeTimeout: HANDSHAKE_MS,
      maxPayload: MAX_MESSAGE_BYTES,
      perMessageDeflate: false,
      createConnection: () => connect(url, ca, env),
    });
    const abort = (): void => ws.terminate();
    signal.addEventListener("abort", abort, { once: true });
    const settle = (): void => signal.removeEventListener("abort", abort);
    ws.once("open", () => {
      settle();
      resolve(ws);
    });
    ws.on("error", (cause) => {
      settle();
      if (signal.aborted) reject(signal.reason as Error);
      else reject(new TailUnreachableError(`can't reach ${url.host}: ${cause.message}`, cause));
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

/** TLS to the host, by way of the proxy that HTTPS_PROXY names. */
function connect({ hostname, port: given }: URL, ca: readonly string[], env: Environment): tls.TLSSocket {
  const host = hostname.replace(/^\[|\]$/g, "");
  const port = Number(given || 443);
  const names = { ca: [...ca], ALPNProtocols: ["http/1.1"], ...(net.isIP(host) === 0 ? { servername: host } : {}) };
  const proxy = environmentProxy("https", { kind: "tcp", host, port }, env);
  if (proxy === undefined) return tls.connect({ host, port, ...names });
  if (proxy.problem !== undefined) throw new TailUnreachableError(proxy.problem);
  const toProxy = net.connect(proxy.address);
  const socket = new ProxyTunnel(toProxy, proxy, `${hostname}:${port}`, () => {});
  return tls.connect({ socket, ...names });
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
