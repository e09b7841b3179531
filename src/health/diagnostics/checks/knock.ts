/** Knocks at one origin: connects as the tunnel does, and asks HTTP services for nothing but a head. */
import type { Environment } from "../../../proxy/environment-proxy.ts";
import { addressTarget } from "../../../proxy/literal-target.ts";
import { OriginConnection } from "../../../proxy/origin-connection.ts";
import { OriginError } from "../../../proxy/origin-errors.ts";
import { hostPort, type OriginTarget, originTarget } from "../../../proxy/origin-target.ts";
import type { OriginRequestOptions, WireOrigin } from "../../../types.ts";
import type { OriginToCheck, Outcome } from "./types.ts";

export interface KnockOptions {
  readonly environment: Environment;
  readonly roots: () => readonly string[];
}

/** An answer's first line is shorter, or it is none. */
const MAX_HEAD_BYTES = 1_024;
/** For the answer, once the connection is open. A service that is slow at it is still there. */
const ANSWER_MS = 3_000;

/** Rejects with OriginError where there is no connection. */
export function knockAtOrigin(origin: OriginToCheck, options: KnockOptions, signal: AbortSignal): Promise<Outcome> {
  const { originRequest, service } = origin.rule;
  switch (service.kind) {
    case "url":
    case "unix":
      return knockAtWeb(service, originRequest, options, signal);
    case "failover": {
      const chosen = service.origins[origin.index];
      if (chosen !== undefined) return knockAtWeb(chosen, originRequest, options, signal);
      break;
    }
    case "tcp": {
      const { host, port, scheme } = service;
      const target = addressTarget(host, port, `${scheme}://${hostPort(host, port)}`);
      return knock(target, originRequest, undefined, signal);
    }
    default:
  }
  return Promise.resolve({ status: "skipped", details: "answers by itself" });
}

function knockAtWeb(
  origin: WireOrigin,
  options: OriginRequestOptions,
  { environment, roots }: KnockOptions,
  signal: AbortSignal,
): Promise<Outcome> {
  const target = originTarget(origin, options, roots, environment);
  // HTTP/2 from the first byte: that it takes the connection has to do.
  if (origin.kind === "url" && origin.url.protocol === "h2c:") return knock(target, options, undefined, signal);
  const host = options.httpHostHeader ?? target.host;
  // HEAD changes nothing at the origin.
  const path = target.proxy !== undefined && target.tls === undefined ? `http://${target.host}/` : "/";
  return knock(target, options, `HEAD ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`, signal);
}

function knock(
  target: OriginTarget,
  options: OriginRequestOptions,
  request: string | undefined,
  signal: AbortSignal,
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    let head = "";
    let timer: NodeJS.Timeout | undefined;
    const settle = (finish: () => void): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      connection.destroy();
      finish();
    };
    const done = (outcome: Outcome): void => settle(() => resolve(outcome));
    const silent = (): void =>
      done({ status: "warning", details: "takes connections, but does not answer HEAD /", action: SLOW });
    const connection = new OriginConnection(
      target,
      options,
      {
        onOpen() {
          if (request === undefined) {
            done({ status: "ok", details: "takes connections" });
            return;
          }
          connection.socket.write(request);
          timer = setTimeout(silent, ANSWER_MS);
        },
        onBytes(bytes) {
          head += bytes.toString("latin1");
          const isWhole = head.includes("\r\n") || head.length > MAX_HEAD_BYTES;
          if (isWhole) settle(() => readAnswer(head, target, resolve, reject));
        },
        onOriginEnd: silent,
        onGone: (error) => settle(() => reject(error)),
      },
      () => {},
    );
    const abort = (): void => settle(() => reject(signal.reason));
    signal.addEventListener("abort", abort, { once: true });
  });
}

const SLOW = "look at what the service does with a request; nothing else may be wrong";

function readAnswer(
  head: string,
  target: OriginTarget,
  resolve: (outcome: Outcome) => void,
  reject: (error: Error) => void,
): void {
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1]);
  if (Number.isNaN(status)) {
    const problem = `${target.where} does not answer in HTTP/1.1; is it https, or another protocol?`;
    reject(new OriginError("origin-protocol", "response-head", problem));
    return;
  }
  const details = `answers HEAD / with ${status}`;
  if (status < 500) resolve({ status: "ok", details });
  else resolve({ status: "warning", details, action: "look into the service's own log" });
}
