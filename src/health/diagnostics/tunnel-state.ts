/**
 * `/diag/tunnel`, in cloudflared's shape (operations § 9), so that its `tunnel diag` reads it too:
 *
 *     {"tunnelID", "connectorID", "connections": [{"isConnected", "protocol", "edgeAddress", "index"}], "icmp_sources",
 *      "underpass": {"version", "pid", "state", "reasons", "wanted", "connections": […all of them, registered or not]}}
 */
import { parseUuid } from "../../config/uuid.ts";

/** A connection as the connector tells it. */
export interface DiagnosticConnection {
  readonly connIndex: number;
  readonly state: string;
  readonly protocol: "http2" | "quic";
  /** `ip:port`, IPv6 in brackets. */
  readonly edgeAddress: string | undefined;
  readonly connectionId: string | undefined;
  readonly location: string | undefined;
}

/** What a tunnel tells of itself for diagnosis. */
export interface DiagnosticState {
  readonly version: string;
  readonly tunnelId: () => string | undefined;
  readonly connections: () => readonly DiagnosticConnection[];
  readonly icmpSources: () => readonly string[];
  /** What somebody chose, by the names of flags; nothing secret. */
  readonly settings: Readonly<Record<string, string>>;
}

/** What a tunnel without an identity has in cloudflared. */
const NIL_UUID = "00000000-0000-0000-0000-000000000000";
const PROTOCOL_NUMBERS = { http2: 0, quic: 1 } as const;

/** What one word says of all. */
export interface TunnelSummary {
  readonly state: string;
  readonly reasons: readonly string[];
  readonly wantedConnections: number;
}

/** The body of `/diag/tunnel`. Zeros are left out, as cloudflared leaves them out. */
export function renderTunnelState(state: DiagnosticState, connectorId: string, summary: TunnelSummary): string {
  const connections = state.connections();
  const active = connections.filter((connection) => connection.state === "registered");
  const icmpSources = state.icmpSources();
  return JSON.stringify({
    tunnelID: state.tunnelId() ?? NIL_UUID,
    connectorID: connectorId,
    ...(active.length === 0 ? {} : { connections: active.map((connection) => renderConnection(connection)) }),
    ...(icmpSources.length === 0 ? {} : { icmp_sources: icmpSources }),
    underpass: {
      version: state.version,
      pid: process.pid,
      state: summary.state,
      reasons: summary.reasons,
      wanted: summary.wantedConnections,
      connections,
    },
  });
}

function renderConnection({ connIndex, edgeAddress, protocol }: DiagnosticConnection): object {
  const number = PROTOCOL_NUMBERS[protocol];
  const ip = edgeAddress?.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
  return {
    isConnected: true,
    ...(number === 0 ? {} : { protocol: number }),
    ...(ip === undefined ? {} : { edgeAddress: ip }),
    ...(connIndex === 0 ? {} : { index: connIndex }),
  };
}

/** What another program answered on `/diag/tunnel`: a cloudflared has no `wanted`. */
export interface SeenTunnel {
  readonly tunnelId: string;
  readonly connectorId: string;
  readonly active: number;
  /** How many connections it wants; undefined where it does not say. */
  readonly wanted: number | undefined;
  readonly pid: number | undefined;
  /** Its own word for how it is, and why; undefined where it does not say. */
  readonly state: string | undefined;
  readonly reasons: readonly string[];
}

/** Undefined where the text is no state of a tunnel: something else listens on that port. */
export function readTunnelState(text: string): SeenTunnel | undefined {
  const state = parseObject(text);
  const { connectorID, connections, tunnelID } = state;
  const [connectorId, tunnelId] = [connectorID, tunnelID].map((id) =>
    typeof id === "string" ? parseUuid(id) : undefined,
  );
  if (connectorId === undefined || tunnelId === undefined) return undefined;
  const own = Object(state["underpass"]) as Record<string, unknown>;
  const pid = own["pid"];
  return {
    tunnelId,
    connectorId,
    active: Array.isArray(connections) ? connections.length : 0,
    wanted: typeof own["wanted"] === "number" ? own["wanted"] : undefined,
    state: typeof own["state"] === "string" ? own["state"] : undefined,
    reasons: Array.isArray(own["reasons"]) ? own["reasons"].filter((reason) => typeof reason === "string") : [],
    pid: typeof pid === "number" && Number.isSafeInteger(pid) && pid > 0 ? pid : undefined,
  };
}

/** An empty object for anything that is no JSON object. */
export function parseObject(text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text)) as Record<string, unknown>;
  } catch {
    return {};
  }
}
