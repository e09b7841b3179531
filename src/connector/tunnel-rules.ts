/** The rules that a tunnel serves: those of Cloudflare, or of this machine, which the edge is told of. */
import { readRegularFile } from "../config/files.ts";
import type { TunnelConfig } from "../config/tunnel-config.ts";
import type { ConfigurationUpdate, Ingress, Logger } from "../types.ts";
import type { ConnectionInfo } from "./api.ts";
import { ConfigurationPush } from "./configuration-push.ts";
import type { RegisteredConnection } from "./connection.ts";
import { runningConfiguration } from "./local-configuration.ts";
import { type IngressUpdate, Orchestrator, type UpdateResult } from "./orchestrator.ts";

export interface TunnelRulesOptions {
  readonly config: Pick<TunnelConfig, "flags" | "handlers" | "ingress" | "maxActiveFlows" | "rpcTimeoutMs">;
  /** From now on requests go by these rules. Throws, and changes nothing, when one can't be started. */
  readonly apply: (ingress: Ingress) => void;
  /** Rules are in effect. Must not throw. */
  readonly onApplied: (version: number, source: "local" | "remote") => void;
  /** The tunnel ends: what fails is no news. */
  readonly isEnding: () => boolean;
  readonly logger: Logger;
}

export class TunnelRules {
  readonly #orchestrator: Orchestrator;
  readonly #push: ConfigurationPush;

  constructor({ apply, config, isEnding, logger, onApplied }: TunnelRulesOptions) {
    const { flags, handlers, ingress, maxActiveFlows, rpcTimeoutMs } = config;
    this.#push = new ConfigurationPush({
      flags,
      rpcTimeoutMs,
      ingress: () => this.#orchestrator.ingress,
      isEnding,
      logger,
    });
    this.#orchestrator = new Orchestrator({
      ingress,
      // The keys of Cloudflare's configuration name files of this machine.
      context: { handlers, readFile: (path) => readRegularFile(path, "") },
      maxActiveFlows,
      apply,
      onApplied: (version, source) => {
        if (source === "local") this.#push.changed();
        onApplied(version, source);
      },
      logger,
    });
  }

  /** Those in effect. */
  get ingress(): Ingress {
    return this.#orchestrator.ingress;
  }

  /** What `/config` shows. */
  get running(): string {
    return runningConfiguration(this.#orchestrator);
  }

  registered(info: ConnectionInfo, connection: RegisteredConnection): void {
    this.#push.registered(info, connection);
  }

  disconnected(info: ConnectionInfo): void {
    this.#push.disconnected(info);
  }

  /** The edge brings rules, as a request of HTTP/2. */
  configure(update: ConfigurationUpdate): void {
    const { error, lastAppliedVersion } = this.#orchestrator.update(update.version, update.config);
    update.reply(lastAppliedVersion, error);
  }

  /** It brings them by a call, as over QUIC. */
  updateText(version: number, config: Uint8Array): UpdateResult {
    return this.#orchestrator.updateText(version, config);
  }

  updateLocal(ingress: Ingress): IngressUpdate {
    return this.#orchestrator.updateLocal(ingress);
  }

  end(): void {
    this.#orchestrator.end();
  }
}
