/** The connections to the edge: how many there are, where they lead, and how each fares. */
import type { Metric, Registry } from "./metrics.ts";

/** A connection as the connector tells it; its report is that of its index, whatever connections that had. */
export interface ConnectionReading {
  readonly connIndex: number;
  readonly state: string;
  readonly protocol: string;
  readonly edgeAddress: string | undefined;
  readonly location: string | undefined;
  readonly roundTripMs: number | undefined;
  readonly ageMs: number | undefined;
  readonly activeStreams: number;
  readonly requests: number;
  readonly resets: number;
  readonly reconnects: number;
}

export interface ConnectionsReading {
  /** Dialling, registering or serving. */
  readonly active: number;
  readonly registered: number;
  /** Of the registered ones, those whose edge answers. */
  readonly ready: number;
  /** How many there are to be. */
  readonly wanted: number;
  readonly connections: readonly ConnectionReading[];
}

const BY_INDEX = ["conn_index"];
/** As cloudflared calls them. */
const REGISTER_ERRORS = ["dup_edge_conn", "server_error"];

export class ConnectionMetrics {
  readonly #active: Metric;
  readonly #registered: Metric;
  readonly #ready: Metric;
  readonly #wanted: Metric;
  readonly #info: Metric;
  readonly #roundTrip: Metric;
  readonly #age: Metric;
  readonly #streams: Metric;
  readonly #requests: Metric;
  readonly #resets: Metric;
  readonly #reconnects: Metric;
  readonly #locations: Metric;
  readonly #unanswered: Metric;
  readonly #registerSuccess: Metric;
  readonly #registerFail: Metric;
  readonly #locationOf = new Map<number, string>();

  constructor(r: Registry) {
    this.#active = r.gauge("cloudflared_tunnel_ha_connections", "Connections being opened or serving.");
    this.#unanswered = r.gauge("cloudflared_tunnel_timer_retries", "Connections whose edge does not answer.");
    this.#locations = r.gauge("cloudflared_tunnel_server_locations", "1 for the edge's location now, 0 before.", [
      "connection_id",
      "edge_location",
    ]);
    this.#registerSuccess = r.counter("cloudflared_tunnel_tunnel_register_success", "Registered connections.", [
      "rpcName",
    ]);
    this.#registerFail = r.counter("cloudflared_tunnel_tunnel_register_fail", "Failed registrations.", [
      "error",
      "rpcName",
    ]);
    // What may never happen is 0 until it does: an increase from nothing is none to Prometheus.
    for (const error of REGISTER_ERRORS) this.#registerFail.add(0, { error, rpcName: "registerConnection" });
    this.#registered = r.gauge("underpass_registered_connections", "Connections that are registered.");
    this.#ready = r.gauge("underpass_ready_connections", "Registered connections whose edge answers.");
    this.#wanted = r.gauge("underpass_wanted_connections", "Connections that there are to be.");
    this.#info = r.gauge("underpass_connection_info", "1 for each connection, with what it is.", [
      "conn_index",
      "edge_address",
      "location",
      "protocol",
      "state",
    ]);
    this.#roundTrip = r.gauge("underpass_connection_round_trip_seconds", "To the edge and back.", BY_INDEX);
    this.#age = r.gauge("underpass_connection_age_seconds", "Time since the registration.", BY_INDEX);
    this.#streams = r.gauge("underpass_connection_streams", "Requests under way, by connection.", BY_INDEX);
    this.#requests = r.counter("underpass_connection_requests_total", "Requests by connection.", BY_INDEX);
    this.#resets = r.counter("underpass_connection_resets_total", "Requests that were broken off.", BY_INDEX);
    this.#reconnects = r.counter("underpass_connection_reconnects_total", "Registrations after the first.", BY_INDEX);
  }

  /** At each rendering. */
  collect({ active, connections, ready, registered, wanted }: ConnectionsReading): void {
    this.#active.set(active);
    this.#registered.set(registered);
    this.#ready.set(ready);
    this.#wanted.set(wanted);
    this.#unanswered.set(registered - ready);
    for (const metric of [this.#info, this.#roundTrip, this.#age, this.#streams]) metric.clear();
    for (const connection of connections) this.#report(connection);
  }

  #report(connection: ConnectionReading): void {
    const { ageMs, connIndex, edgeAddress, location, protocol, roundTripMs, state } = connection;
    const labels = { conn_index: `${connIndex}` };
    this.#info.set(1, { ...labels, edge_address: edgeAddress ?? "", location: location ?? "", protocol, state });
    if (roundTripMs !== undefined) this.#roundTrip.set(roundTripMs / 1000, labels);
    if (ageMs !== undefined) this.#age.set(ageMs / 1000, labels);
    this.#streams.set(connection.activeStreams, labels);
    this.#requests.set(connection.requests, labels);
    this.#resets.set(connection.resets, labels);
    this.#reconnects.set(connection.reconnects, labels);
  }

  registered(connIndex: number, location: string): void {
    this.#registerSuccess.add(1, { rpcName: "registerConnection" });
    const connection_id = `${connIndex}`;
    const before = this.#locationOf.get(connIndex);
    if (before !== undefined) this.#locations.set(0, { connection_id, edge_location: before });
    this.#locationOf.set(connIndex, location);
    this.#locations.set(1, { connection_id, edge_location: location });
  }

  /** The edge, or the way to it, failed a registration. */
  registerFailed(duplicate: boolean): void {
    this.#registerFail.add(1, { error: duplicate ? "dup_edge_conn" : "server_error", rpcName: "registerConnection" });
  }
}
