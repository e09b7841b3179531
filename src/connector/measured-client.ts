/** A registration client whose calls are counted and timed. */
import type { RpcMetrics } from "../health/rpc-metrics.ts";
import type { RegistrationClient } from "../rpc/registration-client.ts";

export function measured(client: RegistrationClient, rpc: RpcMetrics): RegistrationClient {
  return {
    ended: client.ended,
    register: (params, options) =>
      rpc.called(
        "register_connection",
        () => client.register(params, options),
        ({ kind }) => kind === "registered",
      ),
    updateLocalConfiguration: (config, options) =>
      rpc.called("update_local_configuration", () => client.updateLocalConfiguration(config, options)),
    unregister: (options) => rpc.called("unregister_connection", () => client.unregister(options)),
    close: () => client.close(),
  };
}
