/** The client role: begins a connection (RFC 9000 § 7). */
import { createTlsClient, type TlsClientOptions } from "../tls13/session.ts";
import { localParameters } from "./connection/local-parameters.ts";
import type { ConnectionHandler, ConnectionOptions } from "./connection/options.ts";
import { QuicConnection } from "./connection.ts";
import { CLIENT_DESTINATION_LENGTH } from "./limits.ts";
import { encodeTransportParameters } from "./transport-parameters.ts";

export interface ConnectOptions extends ConnectionOptions {
  readonly tls: Omit<TlsClientOptions, "transportParameters" | "random">;
  readonly handler: ConnectionHandler;
  readonly random: (length: number) => Buffer;
  /** Of a former connection to the same server. */
  readonly token?: Buffer;
}

/** A client needs no id: its socket is the connection's own (wire § 5.1). */
const NO_ID = Buffer.alloc(0);

/** The connection's first datagrams wait in `send`. */
export function connectQuic(options: ConnectOptions, now: number): QuicConnection {
  const { random, handler } = options;
  const destination = Buffer.from(random(CLIENT_DESTINATION_LENGTH));
  const local = localParameters(options, { initialSourceConnectionId: NO_ID });
  const transportParameters = encodeTransportParameters(local, random);
  const session = createTlsClient({ ...options.tls, transportParameters, random });
  return new QuicConnection(
    {
      role: "client",
      options,
      handler,
      random,
      local,
      originalDestination: destination,
      initialDestination: destination,
      peerId: destination,
      initialSource: NO_ID,
      resetToken: NO_ID,
      issuer: undefined,
      peerAddress: "",
      addressValidated: true,
      token: options.token,
      newToken: undefined,
    },
    session,
    now,
  );
}
