/** Calls between the edge and this connector, under cloudflared's names (operations § 9.1). */
import type { Histogram, Metric, Registry } from "./metrics.ts";

/** What the connector calls at the edge. */
export type ClientMethod =
  | "register_connection"
  | "unregister_connection"
  | "update_local_configuration"
  | "unregister_udp_session";
/** What the edge calls here. */
export type ServerMethod = "register_udp_session" | "unregister_udp_session" | "update_configuration";

const HANDLERS: Readonly<Record<ClientMethod | ServerMethod, "registration" | "session" | "config">> = {
  register_connection: "registration",
  unregister_connection: "registration",
  update_local_configuration: "registration",
  register_udp_session: "session",
  unregister_udp_session: "session",
  update_configuration: "config",
};
const LABELS = ["handler", "method"];
const BOUNDS_SECS = [0.05, 0.15, 0.45, 1.35, 4.05];

interface Side {
  readonly operations: Metric;
  readonly failures: Metric;
  readonly latency: Histogram;
}

export class RpcMetrics {
  readonly #client: Side;
  readonly #server: Side;
  readonly #pushes: Metric;
  readonly #pushErrors: Metric;

  constructor(r: Registry) {
    this.#client = {
      operations: r.counter("cloudflared_rpc_client_operations", "Calls to the edge.", LABELS),
      failures: r.counter("cloudflared_rpc_client_failures", "Calls to the edge that failed.", LABELS),
      latency: r.histogram("cloudflared_rpc_client_latency_secs", "Time of calls to the edge.", BOUNDS_SECS, LABELS),
    };
    this.#server = {
      operations: r.counter("cloudflared_rpc_server_operations", "Calls by the edge.", LABELS),
      failures: r.counter("cloudflared_rpc_server_failures", "Calls by the edge that failed.", LABELS),
      latency: r.histogram("cloudflared_rpc_server_latency_secs", "Time of calls by the edge.", BOUNDS_SECS, LABELS),
    };
    this.#pushes = r.counter("cloudflared_config_local_config_pushes", "Configurations told to the edge.");
    this.#pushErrors = r.counter("cloudflared_config_local_config_pushes_errors", "Those that failed.");
  }

  /** `call` resolves with false, or rejects, where it failed. */
  async called<T>(method: ClientMethod, call: () => Promise<T>, isOk: (result: T) => boolean = () => true): Promise<T> {
    return await this.#measure(this.#client, method, call, isOk);
  }

  async served<T>(method: ServerMethod, serve: () => T | Promise<T>): Promise<T> {
    return await this.#measure(this.#server, method, serve, () => true);
  }

  async #measure<T>(
    { failures, latency, operations }: Side,
    method: ClientMethod | ServerMethod,
    call: () => T | Promise<T>,
    isOk: (result: T) => boolean,
  ): Promise<T> {
    const labels = { handler: HANDLERS[method], method };
    const began = performance.now();
    let ok = false;
    try {
      const result = await call();
      ok = isOk(result);
      return result;
    } finally {
      operations.add(1, labels);
      latency.observe((performance.now() - began) / 1000, labels);
      if (!ok) failures.add(1, labels);
      if (method === "update_local_configuration") {
        this.#pushes.add();
        if (!ok) this.#pushErrors.add();
      }
    }
  }
}
