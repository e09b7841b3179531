/**
 * A server's side of one UDP socket (RFC 9000 §§ 5.2, 6.1, 8.1, 10.3), sans I/O: routes datagrams to connections by their ids, and
 * accepts new ones. What it answers by itself is never longer than a third of what it answers to, but for Retry and Version
 * Negotiation, which are shorter than the 1200 bytes that they want.
 */
import { createSecretKey, hkdfSync, type KeyObject } from "node:crypto";
import { createTlsServer, type TlsServerOptions } from "../tls13/session.ts";
import { localParameters } from "./connection/local-parameters.ts";
import type { ConnectionHandler, ConnectionOptions } from "./connection/options.ts";
import { hostOf } from "./connection/paths.ts";
import { QuicConnection } from "./connection.ts";
import { TokenSealer } from "./endpoint-token.ts";
import { writeRefusal } from "./endpoint-refusal.ts";
import { TransportErrorCode } from "./errors.ts";
import { HeaderReader, PacketType } from "./header.ts";
import {
  MAX_CONNECTIONS,
  MAX_UNVALIDATED,
  MIN_DATAGRAM_SIZE,
  MIN_INITIAL_DESTINATION,
  SERVER_ID_LENGTH,
} from "./limits.ts";
import { writeRetry } from "./retry.ts";
import { statelessResetToken, writeStatelessReset } from "./stateless-reset.ts";
import { encodeTransportParameters } from "./transport-parameters.ts";
import { writeVersionNegotiation } from "./version-negotiation.ts";

export interface ServerEndpointOptions extends ConnectionOptions {
  readonly tls: Omit<TlsServerOptions, "transportParameters" | "random">;
  readonly random: (length: number) => Buffer;
  /** 32 bytes: tokens and stateless resets are made from it, so that they outlive this process where it does. */
  readonly secret: Buffer;
  /** Whether each client must show its address first, by a Retry; else only when many have not shown theirs. */
  readonly alwaysRetry?: boolean;
  readonly maxConnections?: number;
  /** A client begins a connection: who handles it. */
  readonly accept: (from: string) => ConnectionHandler;
}

export interface Received {
  /** Whose `send` is to be called; new when it was not known before. */
  readonly connection?: QuicConnection;
  /** To be sent back at once. */
  readonly reply?: Buffer;
}

interface Entry {
  readonly connection: QuicConnection;
  /** By which datagrams are routed to it, as keys of the map. */
  readonly ids: Set<string>;
}

const NOTHING: Received = {};
const keyOf = (id: Buffer): string => id.toString("latin1");

function derive(secret: Buffer, label: string): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync("sha256", secret, "", label, 32)));
}

export class ServerEndpoint {
  readonly #options: ServerEndpointOptions;
  readonly #random: (length: number) => Buffer;
  readonly #tokens: TokenSealer;
  readonly #resetKey: KeyObject;
  readonly #byId = new Map<string, Entry>();
  readonly #entries = new Map<QuicConnection, Entry>();
  readonly #unproven = new Set<QuicConnection>();
  readonly #header = new HeaderReader();

  constructor(options: ServerEndpointOptions) {
    this.#options = options;
    this.#random = options.random;
    this.#tokens = new TokenSealer(derive(options.secret, "token"), options.random);
    this.#resetKey = derive(options.secret, "stateless reset");
  }

  get connections(): Iterable<QuicConnection> {
    return this.#entries.keys();
  }

  /** Where the datagrams go that a connection's `send` returned last. */
  addressOf(connection: QuicConnection): string | undefined {
    return this.#entries.has(connection) ? connection.sendAddress : undefined;
  }

  /** Takes a datagram of `from`, `ip:port`, and changes it. */
  receive(datagram: Buffer, from: string, now: number): Received {
    const header = this.#header;
    if (!header.read(datagram, 0, SERVER_ID_LENGTH)) return NOTHING;
    const id = datagram.subarray(header.destinationStart, header.destinationEnd);
    const entry = this.#byId.get(keyOf(id));
    if (entry !== undefined) {
      entry.connection.receive(datagram, now, from);
      return { connection: entry.connection };
    }
    switch (header.type) {
      case PacketType.initial:
        return this.#initial(datagram, from, now);
      case PacketType.otherVersion:
        return this.#otherVersion(datagram);
      case PacketType.oneRtt:
        return this.#unknown(id, datagram.length);
      default:
        return NOTHING;
    }
  }

  /** A connection whose state is `closed` is forgotten; what still comes to it is answered by a stateless reset. */
  forget(connection: QuicConnection): void {
    const entry = this.#entries.get(connection);
    if (entry === undefined) return;
    this.#entries.delete(connection);
    this.#unproven.delete(connection);
    for (const id of entry.ids) this.#byId.delete(id);
  }

  #unknown(id: Buffer, length: number): Received {
    const reply = writeStatelessReset(statelessResetToken(this.#resetKey, id), length, this.#random);
    return reply === undefined ? NOTHING : { reply };
  }

  #otherVersion(datagram: Buffer): Received {
    // Shorter ones are no attempt to connect, and would be amplified (RFC 9000 §§ 5.2.2, 6.1).
    if (datagram.length < MIN_DATAGRAM_SIZE) return NOTHING;
    return { reply: writeVersionNegotiation(this.#replyIds(datagram), this.#random) };
  }

  /** The ids of an answer: those of what it answers to, turned around. */
  #replyIds(datagram: Buffer): { readonly destination: Buffer; readonly source: Buffer } {
    const { destinationStart, destinationEnd, sourceStart, sourceEnd } = this.#header;
    return {
      destination: datagram.subarray(sourceStart, sourceEnd),
      source: datagram.subarray(destinationStart, destinationEnd),
    };
  }

  #initial(datagram: Buffer, from: string, now: number): Received {
    const { destinationStart, destinationEnd, tokenStart, tokenEnd } = this.#header;
    if (datagram.length < MIN_DATAGRAM_SIZE) return NOTHING;
    const ids = this.#replyIds(datagram);
    const destination = Buffer.from(datagram.subarray(destinationStart, destinationEnd));
    const token =
      tokenEnd === tokenStart
        ? undefined
        : this.#tokens.open(datagram.subarray(tokenStart, tokenEnd), from, hostOf(from), now);
    if (token?.kind === "retry") {
      if (!token.retrySource.equals(destination)) return NOTHING;
      return this.#accept(datagram, from, now, token.originalDestination, destination, true);
    }
    if (destination.length < MIN_INITIAL_DESTINATION) return NOTHING;
    if (token?.kind === "invalid" && token.retry) return { reply: writeRefusal(ids, TransportErrorCode.INVALID_TOKEN) };
    const validated = token?.kind === "new-token";
    if (!validated && (this.#options.alwaysRetry === true || this.#unvalidated() >= MAX_UNVALIDATED)) {
      const source = Buffer.from(this.#random(SERVER_ID_LENGTH));
      const sealed = this.#tokens.retry(from, destination, source, now);
      return { reply: writeRetry({ destination: ids.destination, source }, sealed, destination) };
    }
    return this.#accept(datagram, from, now, destination, undefined, validated);
  }

  /** Connections whose client may still be anyone: each costs a handshake's work. */
  #unvalidated(): number {
    for (const connection of this.#unproven) {
      if (connection.addressValidated || connection.state === "closed") this.#unproven.delete(connection);
    }
    return this.#unproven.size;
  }

  #accept(
    datagram: Buffer,
    from: string,
    now: number,
    originalDestination: Buffer,
    retrySource: Buffer | undefined,
    addressValidated: boolean,
  ): Received {
    const options = this.#options;
    const random = this.#random;
    const { destination: peerId, source: destination } = this.#replyIds(datagram);
    if (this.#entries.size >= (options.maxConnections ?? MAX_CONNECTIONS)) {
      const ids = { destination: peerId, source: destination };
      return { reply: writeRefusal(ids, TransportErrorCode.CONNECTION_REFUSED) };
    }
    const ids = new Set<string>();
    const initialDestination = Buffer.from(destination);
    const issue = (): { readonly id: Buffer; readonly resetToken: Buffer } => {
      const id = Buffer.from(random(SERVER_ID_LENGTH));
      route(id);
      return { id, resetToken: statelessResetToken(this.#resetKey, id) };
    };
    const retired = (id: Buffer): void => {
      ids.delete(keyOf(id));
      this.#byId.delete(keyOf(id));
    };
    // The entry needs the connection, and the connection its ids.
    let entry: Entry | undefined;
    const route = (id: Buffer): void => {
      ids.add(keyOf(id));
      if (entry !== undefined) this.#byId.set(keyOf(id), entry);
    };
    route(initialDestination);
    const { id: initialSource, resetToken } = issue();
    const local = localParameters(options, {
      originalDestinationConnectionId: originalDestination,
      initialSourceConnectionId: initialSource,
      retrySourceConnectionId: retrySource,
      statelessResetToken: resetToken,
    });
    const transportParameters = encodeTransportParameters(local, random);
    const connection = new QuicConnection(
      {
        role: "server",
        options,
        handler: options.accept(from),
        random,
        local,
        originalDestination,
        initialDestination,
        peerId: Buffer.from(peerId),
        initialSource,
        resetToken,
        issuer: { issue, retired },
        peerAddress: from,
        addressValidated,
        token: undefined,
        newToken: this.#tokens.newToken(hostOf(from), now),
      },
      createTlsServer({ ...options.tls, transportParameters, random }),
      now,
    );
    connection.receive(datagram, now, from);
    // What did not open under keys that everyone can make was not meant seriously.
    if (connection.stats.packetsReceived === 0) return NOTHING;
    entry = { connection, ids };
    for (const id of ids) this.#byId.set(id, entry);
    this.#entries.set(connection, entry);
    if (!addressValidated) this.#unproven.add(connection);
    return { connection };
  }
}
