/** The edge of the benchmarks over HTTP/2: TLS, registration, requests. */
import tls from "node:tls";
import type { Authority } from "../src/mock-edge/ca.ts";
import { createHttp2Client } from "../src/protocol/http2/client.ts";
import type { Http2ClientConnection } from "../src/protocol/http2/types.ts";
import { serveRegistration } from "../src/rpc/registration-server.ts";
import type { ByteChannel } from "../src/types.ts";
import { type EdgeClient, type EdgeEvents, FIXED_FIELDS, HOST, nextRay } from "./edge-client.ts";
import { registration } from "./registration.ts";

const CANCEL = 8;

function clientOf(connection: Http2ClientConnection): EdgeClient {
  return {
    request({ method, path, end, length, websocket }, handler) {
      const ray = nextRay();
      const stream = connection.request(
        (encoder) => {
          encoder.pseudo(method, "https", HOST, path);
          for (const [name, value] of FIXED_FIELDS) encoder.field(name, value, "index");
          encoder.field("cf-ray", ray, "name");
          encoder.field("cookie", `session=${ray}`, "name");
          if (websocket === true) {
            encoder.field("cf-cloudflared-proxy-connection-upgrade", "websocket", "index");
            encoder.field("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==", "name");
            encoder.field("sec-websocket-version", "13", "index");
          } else if (length !== undefined) encoder.field("content-length", String(length), "name");
        },
        end,
        handler,
      );
      if (stream === undefined) return undefined;
      return {
        write: (chunk, last) => stream.write(chunk, last),
        consumed: (bytes) => stream.consumed(bytes),
        reset: () => stream.reset(CANCEL),
      };
    },
  };
}

function openControl(connection: Http2ClientConnection, client: EdgeClient, events: EdgeEvents): void {
  const channel: ByteChannel = {
    onData: () => {},
    onEnd: () => {},
    write: (bytes) => void stream?.write(Buffer.from(bytes), false),
    end: () => stream?.end(),
  };
  const stream = connection.request(
    (encoder) => {
      encoder.pseudo("GET", "https", HOST, "/");
      encoder.field("cf-cloudflared-proxy-connection-upgrade", "control-stream", "name");
    },
    false,
    {
      onData: (chunk) => {
        channel.onData(chunk);
        stream?.consumed(chunk.length);
      },
      onEnd: () => channel.onEnd(),
      onCancel: () => channel.onEnd(),
      onWritable() {},
    },
  );
  serveRegistration(channel, registration(client, events));
}

function accept(socket: tls.TLSSocket, events: EdgeEvents): void {
  socket.setNoDelay(true);
  let scheduled = false;
  const flush = (): void => {
    scheduled = false;
    for (let buffer = connection.takeOutput(); buffer !== undefined; buffer = connection.takeOutput()) {
      const taken = buffer;
      socket.write(taken, () => connection.recycle(taken));
    }
  };
  const schedule = (): void => {
    if (scheduled) return;
    scheduled = true;
    setImmediate(flush);
  };
  const connection: Http2ClientConnection = createHttp2Client(
    { initialWindowSize: 4 * 1024 * 1024, connectionWindowSize: 16 * 1024 * 1024 },
    {
      onOutput: schedule,
      onReady: () => openControl(connection, client, events),
      onError: () => socket.destroy(),
    },
    performance.now(),
  );
  const client = clientOf(connection);
  schedule();
  socket.on("data", (bytes: Buffer) => connection.receive(bytes, performance.now()));
  socket.on("error", () => socket.destroy());
  socket.on("close", () => {
    events.gone(client);
    connection.socketClosed();
  });
}

/** Resolves with its port. */
export function listenHttp2(authority: Authority, events: EdgeEvents): Promise<number> {
  const leaf = authority.issue({ dnsNames: ["h2.cftunnel.com"] });
  const server = tls.createServer({ key: leaf.keyPem, cert: leaf.certPem }, (socket) => accept(socket, events));
  server.on("tlsClientError", () => {});
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      if (typeof address === "object" && address !== null) resolve(address.port);
    });
  });
}
