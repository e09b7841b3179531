/** Tells the edge the configuration of a tunnel that is managed on this machine (wire § 13): on connection 0, and after each change. */
import type { Ingress, Logger } from "../types.ts";
import type { ConnectionInfo } from "./api.ts";
import type { RegisteredConnection } from "./connection.ts";
import { asError } from "./errors.ts";
import { localConfiguration } from "./local-configuration.ts";

export interface ConfigurationPushOptions {
  /** What somebody chose, by the names of flags. */
  readonly flags: Readonly<Record<string, string>>;
  readonly rpcTimeoutMs: number;
  /** The rules that are in effect. */
  readonly ingress: () => Ingress;
  /** The tunnel ends: a failure is no news. */
  readonly isEnding: () => boolean;
  readonly logger: Logger;
}

export class ConfigurationPush {
  readonly #options: ConfigurationPushOptions;
  /** Connection 0, while the edge wants to be told. */
  #told: RegisteredConnection | undefined;

  constructor(options: ConfigurationPushOptions) {
    this.#options = options;
  }

  registered({ connIndex }: ConnectionInfo, connection: RegisteredConnection): void {
    if (connIndex !== 0) return;
    this.#told = connection.remotelyManaged ? undefined : connection;
    this.changed();
  }

  disconnected({ connectionId }: ConnectionInfo): void {
    if (connectionId === this.#told?.connectionId) this.#told = undefined;
  }

  /** Other rules of this machine are in effect. */
  changed(): void {
    if (this.#told !== undefined) void this.#push(this.#told);
  }

  async #push({ client }: RegisteredConnection): Promise<void> {
    const { flags, ingress, isEnding, logger, rpcTimeoutMs } = this.#options;
    let failure: Error | undefined;
    try {
      await client.updateLocalConfiguration(localConfiguration(ingress(), flags), { timeoutMs: rpcTimeoutMs });
    } catch (error) {
      failure = asError(error);
    }
    if (failure === undefined || isEnding()) return;
    logger.warn("Telling the edge the local configuration failed; the tunnel works without", {
      connIndex: 0,
      error: failure.message,
    });
  }
}
