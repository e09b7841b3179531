/** One connection's way to the edge: dial, control stream, registration (wire §§ 4.9, 9.5). */
import type { TunnelCredentials } from "../config/tunnel-config.ts";
import type { RegistrationClient } from "../rpc/registration-client.ts";
import type { CloseReason, EdgeAddress, EdgeConnection, EdgeRequest } from "../types.ts";
import { asError, ControlStreamTimeoutError, RegistrationRefusedError } from "./errors.ts";
import type { ConnectorParts } from "./parts.ts";

/** cloudflared waits for ever; the edge opens the stream within a round trip or two. */
const CONTROL_STREAM_TIMEOUT_MS = 15_000;

/** The one cause that asks for another address instead of patience (wire § 9.6). */
const DUPLICATE_CONNECTION = "EDUPCONN";

export interface ConnectionOptions {
  readonly connIndex: number;
  readonly address: EdgeAddress;
  readonly credentials: TunnelCredentials;
  /** This connector's UUID. */
  readonly connectorId: string;
  readonly features: readonly string[];
  readonly version: string;
  readonly arch: string;
  readonly previousAttempts: number;
  readonly rpcTimeoutMs: number;
  readonly onRequest: (request: EdgeRequest, connIndex: number) => void;
  /** From now on the edge may count the connection as registered. */
  readonly onRegistering: () => void;
  readonly signal: AbortSignal;
}

export type ConnectionFailure =
  /** TCP or TLS did not come about. */
  | { readonly kind: "unreachable"; readonly error: Error }
  /** The edge has a connection of this connector already. */
  | { readonly kind: "duplicate"; readonly error: RegistrationRefusedError }
  | { readonly kind: "refused"; readonly error: RegistrationRefusedError }
  /** No control stream, a lost connection, an exception, a timeout, a malformed answer. */
  | { readonly kind: "unregistered"; readonly error: Error };

export type ConnectionResult =
  | { readonly kind: "registered"; readonly connection: RegisteredConnection }
  | { readonly kind: "aborted" }
  | ConnectionFailure;

/** A connection that the edge sends requests on. */
export class RegisteredConnection {
  readonly edge: EdgeConnection;
  readonly client: RegistrationClient;
  readonly connectionId: string;
  readonly location: string;
  readonly remotelyManaged: boolean;
  readonly registeredAt = performance.now();
  /** When the edge opened a stream last; with `edge.openStreams` it tells when a connection is quiet. */
  lastRequestAt = 0;
  /** Requests that the edge has sent on it. */
  requests = 0;
  /** The control stream is gone: nothing can be unregistered on it any more. */
  controlEnded = false;
  /** The edge does not answer. */
  silent = false;

  constructor(
    edge: EdgeConnection,
    client: RegistrationClient,
    details: { readonly connectionId: string; readonly location: string; readonly remotelyManaged: boolean },
  ) {
    this.edge = edge;
    this.client = client;
    this.connectionId = details.connectionId;
    this.location = details.location;
    this.remotelyManaged = details.remotelyManaged;
  }

  close(reason: CloseReason): Promise<void> {
    this.client.close();
    return this.edge.close(reason);
  }
}

/** Never rejects. Unless it registered nothing is left open when it resolves. */
export async function connectToEdge(parts: ConnectorParts, options: ConnectionOptions): Promise<ConnectionResult> {
  const { connIndex, address, features, signal } = options;
  let edge: EdgeConnection;
  try {
    edge = await parts.dial({ connIndex, address, features, signal });
  } catch (error) {
    return signal.aborted ? { kind: "aborted" } : { kind: "unreachable", error: asError(error) };
  }
  let client: RegistrationClient | undefined;
  let result: ConnectionResult;
  try {
    client = await openControl(parts, edge, signal);
    result = await register(edge, client, options);
  } catch (error) {
    result = { kind: "unregistered", error: asError(error) };
  }
  if (result.kind === "registered" && !signal.aborted) return result;
  client?.close();
  // The reference waits for the edge to close it (wire § 4.1); nothing is left to be said on it.
  await edge.close(
    result.kind === "unregistered" && !signal.aborted ? { kind: "error", error: result.error } : { kind: "shutdown" },
  );
  return signal.aborted ? { kind: "aborted" } : result;
}

async function openControl(
  parts: ConnectorParts,
  edge: EdgeConnection,
  signal: AbortSignal,
): Promise<RegistrationClient> {
  const limit = new AbortController();
  const timer = setTimeout(
    () => limit.abort(new ControlStreamTimeoutError(CONTROL_STREAM_TIMEOUT_MS)),
    CONTROL_STREAM_TIMEOUT_MS,
  );
  const abort = (): void => limit.abort(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  try {
    return parts.createRegistrationClient(await edge.control(limit.signal));
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
}

async function register(
  edge: EdgeConnection,
  client: RegistrationClient,
  options: ConnectionOptions,
): Promise<ConnectionResult> {
  const { credentials, connIndex, signal, onRequest } = options;
  let connection: RegisteredConnection | undefined;
  // Requests may follow the answer in the same packet.
  edge.onRequest = (request) => {
    if (connection !== undefined) {
      connection.lastRequestAt = performance.now();
      if (request.kind !== "configuration") connection.requests++;
    }
    onRequest(request, connIndex);
  };
  options.onRegistering();
  const answer = await client.register(
    {
      accountTag: credentials.accountTag,
      tunnelSecret: credentials.tunnelSecret.reveal(),
      tunnelId: credentials.tunnelId,
      connIndex,
      clientId: options.connectorId,
      features: options.features,
      version: options.version,
      arch: options.arch,
      originLocalIp: edge.localAddress,
      replaceExisting: false,
      numPreviousAttempts: options.previousAttempts,
    },
    { timeoutMs: options.rpcTimeoutMs, signal },
  );
  if (answer.kind === "registered") {
    connection = new RegisteredConnection(edge, client, answer);
    return { kind: "registered", connection };
  }
  const error = new RegistrationRefusedError(answer.cause, answer.shouldRetry, answer.retryAfterMs);
  return { kind: answer.cause === DUPLICATE_CONNECTION ? "duplicate" : "refused", error };
}
