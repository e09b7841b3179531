/** Which connection a visitor is sent to. */
import type { Connection } from "./connection.ts";
import type { TunnelRegistry } from "./tunnels.ts";

export class Router {
  /** All that have not closed, in the order in which they came. */
  readonly connections: Connection[] = [];
  readonly #tunnels: TunnelRegistry;
  readonly #turns = new Map<string, number>();

  constructor(tunnels: TunnelRegistry) {
    this.#tunnels = tunnels;
  }

  add(connection: Connection): void {
    this.connections.push(connection);
  }

  remove(connection: Connection): void {
    const index = this.connections.indexOf(connection);
    if (index >= 0) this.connections.splice(index, 1);
  }

  /** The tunnel of a Host header: the one it was routed to, or the only one that has connections. */
  tunnelOf(authority: string): string | undefined {
    const routed = this.#tunnels.resolve(authority);
    if (routed !== undefined) return routed;
    const serving = new Set(
      this.connections.filter(({ routable }) => routable).map(({ registration }) => registration?.tunnelId),
    );
    return serving.size === 1 ? [...serving][0] : undefined;
  }

  /** The next of a tunnel's registered connections, in turn; of one connector's with the same index, only the newest. */
  pick(tunnelId: string, connectorId?: string): Connection | undefined {
    const newest = new Map<string, Connection>();
    for (const connection of this.connections) {
      const { registration, routable } = connection;
      if (!routable || registration?.tunnelId !== tunnelId) continue;
      if (connectorId !== undefined && registration.clientId !== connectorId) continue;
      newest.set(`${registration.clientId} ${registration.connIndex}`, connection);
    }
    const usable = [...newest.values()];
    const turn = this.#turns.get(tunnelId) ?? 0;
    this.#turns.set(tunnelId, turn + 1);
    return usable[turn % usable.length];
  }

  route(authority: string): Connection | undefined {
    const tunnelId = this.tunnelOf(authority);
    return tunnelId === undefined ? undefined : this.pick(tunnelId);
  }
}
