/** Registers whoever comes. */
import type { RegistrationHandlers } from "../src/rpc/registration-server.ts";
import type { EdgeClient, EdgeEvents } from "./edge-client.ts";

export function registration(client: EdgeClient, events: EdgeEvents): RegistrationHandlers {
  return {
    registerConnection: () => {
      events.registered(client);
      return {
        kind: "registered",
        connectionId: crypto.randomUUID(),
        location: "bench01",
        remotelyManaged: true,
      };
    },
    unregisterConnection: () => events.gone(client),
    updateLocalConfiguration() {},
  };
}
