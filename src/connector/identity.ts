/** The credentials that a tunnel registers with: given ones, or a quick tunnel's, which may have to be asked for again. */
import type { QuickTunnel, QuickTunnelError } from "../account/quick-tunnel.ts";
import type { TunnelCredentials } from "../config/tunnel-config.ts";
import type { Logger } from "../types.ts";
import { asError } from "./errors.ts";
import type { CredentialsResult, IdentitySource, Refusal } from "./parts.ts";
import { SharedTask } from "./shared-task.ts";

/** A named tunnel: the credentials never change. */
export function namedIdentity(credentials: TunnelCredentials, hostname: string | undefined): IdentitySource {
  const result: CredentialsResult = { kind: "credentials", credentials };
  return {
    credentials: () => Promise.resolve(result),
    tunnelId: credentials.tunnelId,
    url: hostname === undefined ? undefined : `https://${hostname}`,
    replaceable: false,
    registered() {},
    refused() {},
  };
}

/**
 * A quick tunnel (operations § 7): one request to the service, whose answer is kept over restarts. A new one, with a new
 * URL, is asked for only when the edge refuses the old credentials; before the first registration once, as a service that
 * hands out nothing but dead tunnels is not to be asked for ever.
 */
export class QuickIdentity implements IdentitySource {
  readonly #request: (signal: AbortSignal) => Promise<QuickTunnel>;
  readonly #announce: (tunnel: QuickTunnel) => void;
  readonly #logger: Logger;
  #tunnel: QuickTunnel | undefined;
  #refused: Refusal | undefined;
  #replaceable = true;
  #everRegistered = false;
  /** Several connections may ask at once; the service is asked once. */
  readonly #asking = new SharedTask((signal) => this.#ask(signal));

  constructor(
    request: (signal: AbortSignal) => Promise<QuickTunnel>,
    announce: (tunnel: QuickTunnel) => void,
    logger: Logger,
  ) {
    this.#request = request;
    this.#announce = announce;
    this.#logger = logger;
  }

  get tunnelId(): string | undefined {
    return this.#tunnel?.credentials.tunnelId;
  }

  get url(): string | undefined {
    return this.#tunnel === undefined ? undefined : `https://${this.#tunnel.hostname}`;
  }

  get replaceable(): boolean {
    return this.#replaceable;
  }

  credentials(signal: AbortSignal): Promise<CredentialsResult> {
    if (this.#tunnel !== undefined && this.#refused === undefined) {
      return Promise.resolve({ kind: "credentials", credentials: this.#tunnel.credentials });
    }
    return this.#asking
      .join(signal)
      .catch((error: unknown) => ({ kind: "unavailable", error: asError(error), retryAfterMs: 0, final: false }));
  }

  registered(): void {
    this.#everRegistered = true;
  }

  refused(how: Refusal): void {
    this.#refused = how;
  }

  async #ask(signal: AbortSignal): Promise<CredentialsResult> {
    const refused = this.#refused;
    if (refused !== undefined) {
      this.#logger.warn("The edge refused the quick tunnel's credentials: requesting a new tunnel");
    }
    try {
      const tunnel = await this.#request(signal);
      this.#tunnel = tunnel;
      this.#refused = undefined;
      if (refused === "for-good") this.#replaceable = false;
      this.#announce(tunnel);
      return { kind: "credentials", credentials: tunnel.credentials };
    } catch (error) {
      return {
        kind: "unavailable",
        error: asError(error),
        retryAfterMs: isQuickTunnelError(error) ? (error.retryAfterMs ?? 0) : 0,
        // A service that answers no has been understood; one that can't be reached may be reached later.
        final:
          !this.#everRegistered &&
          refused !== "often" &&
          !(isQuickTunnelError(error) && error.code === "ERR_UNDERPASS_QUICK_TUNNEL_UNREACHABLE"),
      };
    }
  }
}

/** By its shape: the class would load the whole module before it is needed. */
function isQuickTunnelError(error: unknown): error is QuickTunnelError {
  return error instanceof Error && "code" in error && String(error.code).startsWith("ERR_UNDERPASS_QUICK_TUNNEL_");
}
