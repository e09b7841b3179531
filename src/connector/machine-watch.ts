/** What happens to the machine, and so to a tunnel's connections: it slept, or is in another network. */
import type { Logger } from "../types.ts";
import { watchClock } from "./clock-watch.ts";
import { type Interfaces, type NetworkChange, watchNetwork } from "./network-watch.ts";

export interface MachineWatchOptions {
  readonly connections: {
    /** None can be relied on any more. */
    thawed(): void;
    networkChanged(change: NetworkChange): void;
  };
  /** Default: this machine's. */
  readonly networkInterfaces: (() => Interfaces) | undefined;
  readonly logger: Logger;
}

/** Returns the function that ends it. */
export function watchMachine({ connections, logger, networkInterfaces }: MachineWatchOptions): () => void {
  const stopClock = watchClock((frozenMs) => {
    logger.info(`This process stood still for ${Math.round(frozenMs / 1000)}s: opening new connections`);
    connections.thawed();
  });
  const stopNetwork = watchNetwork((change) => {
    const { appeared, disappeared } = change;
    logger.debug("This machine's addresses have changed: looking after the connections", { appeared, disappeared });
    connections.networkChanged(change);
  }, networkInterfaces);
  return () => {
    stopClock();
    stopNetwork();
  };
}
