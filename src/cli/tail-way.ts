/** The way of `underpass tail` to the management host: by a proxy or not, then TLS; and where it ends when it fails. */
import net from "node:net";
import tls from "node:tls";
import { reasonOf } from "../account/http-client.ts";
import { tlsMessage } from "../edge/list-names.ts";
import { type Environment, environmentProxy, type OriginProxy } from "../proxy/environment-proxy.ts";
import { OriginError } from "../proxy/origin-errors.ts";
import { ProxyTunnel } from "../proxy/proxy-tunnel.ts";

/** What is waited for: TCP, the proxy's answer, the TLS handshake, the host's answer. */
type Stage = "connect" | "proxy" | "tls" | "answer";

const OTHER_TRUST = "SSL_CERT_FILE names a file with the certificate of an authority of your own, as PEM";
const WITHOUT_PROXY = "NO_PROXY has the hosts that are reached without it";

/** What to do about a failed handshake, by Node's and OpenSSL's codes. */
const TLS_ADVICE: Readonly<Record<string, string>> = {
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: OTHER_TRUST,
  UNABLE_TO_GET_ISSUER_CERT: OTHER_TRUST,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: OTHER_TRUST,
  SELF_SIGNED_CERT_IN_CHAIN: OTHER_TRUST,
  DEPTH_ZERO_SELF_SIGNED_CERT: OTHER_TRUST,
  ERR_TLS_CERT_ALTNAME_INVALID:
    "--management-hostname has to be a name of the certificate; SSL_CERT_FILE does not change that",
  CERT_HAS_EXPIRED: "is this machine's clock right?",
  CERT_NOT_YET_VALID: "is this machine's clock right?",
  ECONNRESET: "does it speak TLS?",
};

export class TailWay {
  readonly #url: URL;
  readonly #proxy: OriginProxy | undefined;
  #stage: Stage = "connect";

  /** @param url wss */
  constructor(url: URL, env: Environment) {
    this.#url = url;
    this.#proxy = environmentProxy("https", { kind: "tcp", ...this.#address }, env);
  }

  /** Why it can't be gone, if so. */
  get problem(): string | undefined {
    return this.#proxy?.problem;
  }

  /** Called once. */
  connect(ca: readonly string[]): tls.TLSSocket {
    const { host, port } = this.#address;
    const names = { ca: [...ca], ALPNProtocols: ["http/1.1"], ...(net.isIP(host) === 0 ? { servername: host } : {}) };
    const proxy = this.#proxy;
    const socket =
      proxy === undefined
        ? tls.connect({ host, port, ...names })
        : tls.connect({ socket: this.#tunnel(proxy), ...names });
    if (proxy === undefined) socket.once("connect", () => (this.#stage = "tls"));
    return socket.once("secureConnect", () => (this.#stage = "answer"));
  }

  #tunnel(proxy: OriginProxy): ProxyTunnel {
    const toProxy = net.connect(proxy.address).once("connect", () => (this.#stage = "proxy"));
    const { hostname } = this.#url;
    return new ProxyTunnel(toProxy, proxy, `${hostname}:${this.#address.port}`, () => (this.#stage = "tls"));
  }

  get #address(): { readonly host: string; readonly port: number } {
    const { hostname, port } = this.#url;
    return { host: hostname.replace(/^\[|\]$/g, ""), port: Number(port || 443) };
  }

  get #proxyName(): string | undefined {
    if (this.#proxy === undefined) return undefined;
    const { host, port } = this.#proxy.address;
    return `the proxy of HTTPS_PROXY, ${net.isIPv6(host) ? `[${host}]` : host}:${port}`;
  }

  /** What an error on the way means. */
  failure(error: Error): string {
    const reason = error instanceof OriginError ? error.message : this.#reason(error);
    return `can't reach ${this.#url.host}: ${reason}`;
  }

  #reason(error: Error): string {
    const said = firstLine(tlsMessage(error) || reasonOf(error));
    const proxy = this.#proxyName;
    switch (this.#stage) {
      case "connect":
      case "proxy":
        return proxy === undefined ? said : `${proxy}: ${said}; ${WITHOUT_PROXY}`;
      case "tls":
        return handshakeFailure(said, "code" in error ? String(error.code) : "");
      default:
        return said;
    }
  }

  /** Nothing came of it for so long. */
  lateness(seconds: number): string {
    const { host } = this.#url;
    const proxy = this.#proxyName;
    const within = `within ${seconds} s`;
    switch (this.#stage) {
      case "connect":
        if (proxy !== undefined) return `can't reach ${host}: no connection to ${proxy} ${within}; ${WITHOUT_PROXY}`;
        return `can't reach ${host}: no connection ${within}; does a firewall block outgoing TCP to this port?`;
      case "proxy":
        return `can't reach ${host}: ${proxy}, has not answered ${within}; ${WITHOUT_PROXY}`;
      case "tls":
        return `can't reach ${host}: it takes connections, but was not through with the TLS handshake ${within}; does it speak TLS?`;
      default:
        return `can't reach ${host}: it speaks TLS, but has not answered the request ${within}`;
    }
  }
}

function handshakeFailure(said: string, code: string): string {
  if (/wrong version number|packet length too long/.test(said)) {
    return "what listens there does not speak TLS; --management-hostname wants the host:port of something that does";
  }
  const advice = TLS_ADVICE[code];
  return `the TLS handshake failed: ${said}${advice === undefined ? "" : `; ${advice}`}`;
}

/** Errors hold what the other side has sent, such as the names of a certificate. */
function firstLine(text: string): string {
  return (text.split("\n", 1)[0] ?? "").replaceAll(/\p{Cc}+/gu, " ").trim();
}
