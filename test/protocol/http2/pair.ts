/** A client and a server connection, joined in memory. */
import { createHttp2Client } from "../../../src/protocol/http2/client.ts";
import { createHttp2Server } from "../../../src/protocol/http2/server.ts";
import type {
  ClientFieldEncoder,
  Http2ClientConnection,
  Http2Connection,
  Http2Options,
  Http2Stream,
  Http2StreamHandler,
  RequestHead,
  StreamCancel,
} from "../../../src/protocol/http2/types.ts";

export interface Received {
  head: RequestHead | undefined;
  status: number | undefined;
  readonly chunks: Buffer[];
  bytes: number;
  ended: boolean;
  trailers: [string, string][];
  cancel: StreamCancel | undefined;
  writable: number;
}

export function recorder(): { received: Received; handler: Http2StreamHandler } {
  const received: Received = {
    head: undefined,
    status: undefined,
    chunks: [],
    bytes: 0,
    ended: false,
    trailers: [],
    cancel: undefined,
    writable: 0,
  };
  return {
    received,
    handler: {
      onResponse: (head) => {
        received.status = head.status;
      },
      onData: (chunk) => {
        received.bytes += chunk.length;
        received.chunks.push(Buffer.from(chunk));
      },
      onEnd: (trailers) => {
        received.ended = true;
        received.trailers = trailers.map((field) => [field.name, field.value]);
      },
      onCancel: (cancel) => {
        received.cancel = cancel;
      },
      onWritable: () => {
        received.writable++;
      },
    },
  };
}

export interface ServedStream {
  readonly stream: Http2Stream;
  readonly received: Received;
}

export interface Pair {
  readonly client: Http2ClientConnection;
  readonly server: Http2Connection;
  /** What the server has been asked, oldest first. */
  readonly served: ServedStream[];
  readonly errors: { client: Error[]; server: Error[] };
  now: number;
  /** Carries bytes both ways until nothing is left to say. */
  settle(): void;
}

function pump(from: Http2Connection, to: Http2Connection, now: number): boolean {
  let moved = false;
  for (let buffer = from.takeOutput(); buffer !== undefined; buffer = from.takeOutput()) {
    moved = true;
    const copy = Buffer.from(buffer);
    from.recycle(buffer);
    to.receive(copy, now);
  }
  return moved;
}

export function createPair(
  options: {
    server?: Http2Options;
    client?: Http2Options;
    onRequest?: (served: ServedStream) => void;
    onPong?: (milliseconds: number) => void;
  } = {},
): Pair {
  const errors = { client: [] as Error[], server: [] as Error[] };
  const served: ServedStream[] = [];
  const server = createHttp2Server(
    options.server ?? {},
    {
      onOutput() {},
      onRequest: (stream, head) => {
        const { received, handler } = recorder();
        received.head = head;
        stream.handler = handler;
        const entry = { stream, received };
        served.push(entry);
        options.onRequest?.(entry);
      },
      onPong: (milliseconds) => options.onPong?.(milliseconds),
      onError: (error) => errors.server.push(error),
    },
    0,
  );
  const client = createHttp2Client(
    options.client ?? {},
    { onOutput() {}, onError: (error) => errors.client.push(error) },
    0,
  );
  const pair: Pair = {
    client,
    server,
    served,
    errors,
    now: 0,
    settle() {
      let moved = true;
      while (moved) {
        const toServer = pump(client, server, pair.now);
        const toClient = pump(server, client, pair.now);
        moved = toServer || toClient;
      }
    },
  };
  pair.settle();
  return pair;
}

export function get(path: string): (encoder: ClientFieldEncoder) => void {
  return (encoder) => encoder.pseudo("GET", "https", "example.com", path);
}

export function post(path: string, contentLength?: number): (encoder: ClientFieldEncoder) => void {
  return (encoder) => {
    encoder.pseudo("POST", "https", "example.com", path);
    if (contentLength !== undefined) encoder.field("content-length", String(contentLength), "name");
  };
}
