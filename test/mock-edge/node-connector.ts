/** A connector whose HTTP/2 is Node's own: the mock edge must not only agree with the codec that it shares with underpass. */
import http2, { type IncomingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import tls from "node:tls";
import { parseToken } from "../../src/config/token.ts";
import type { MockEdge } from "../../src/mock-edge/index.ts";
import {
  createRegistrationClient,
  type RegistrationClient,
  type RegistrationResult,
} from "../../src/rpc/registration-client.ts";
import type { ByteChannel } from "../../src/types.ts";

export interface NodeConnector {
  readonly session: ServerHttp2Session;
  readonly rpc: RegistrationClient;
  readonly result: RegistrationResult;
  /** Resolves when the edge has closed TCP. */
  readonly closed: Promise<void>;
  close(): void;
}

export interface NodeConnectorOptions {
  readonly token?: string;
  readonly connIndex?: number;
  readonly clientId?: string;
  /** Each stream but the control stream. */
  readonly onStream?: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;
  readonly settings?: http2.Settings;
}

const UPGRADE = "cf-cloudflared-proxy-connection-upgrade";

function base64(text: string): string {
  return Buffer.from(text, "latin1").toString("base64").replace(/=+$/, "");
}

/** What a connector answers with (wire: response mapping). */
export function originHead(status: number, headers: Record<string, string> = {}): http2.OutgoingHttpHeaders {
  const pairs = Object.entries(headers).map(([name, value]) => `${base64(name)}:${base64(value)}`);
  return {
    ":status": status,
    "cf-cloudflared-response-headers": pairs.join(";"),
    "cf-cloudflared-response-meta": '{"src":"origin"}',
  };
}

function channelOf(stream: ServerHttp2Stream): ByteChannel {
  const channel: ByteChannel = {
    onData() {},
    onEnd() {},
    write: (bytes) => void stream.write(Buffer.from(bytes)),
    end: () => void stream.end(),
  };
  stream.on("data", (chunk: Buffer) => channel.onData(chunk));
  stream.on("end", () => channel.onEnd());
  stream.on("aborted", () => channel.onEnd(new Error("the edge reset the control stream")));
  return channel;
}

/** Dials the edge and registers. */
export async function startNodeConnector(edge: MockEdge, options: NodeConnectorOptions = {}): Promise<NodeConnector> {
  const credentials = parseToken(options.token ?? edge.issueToken());
  const [host = "", port = ""] = edge.edgeAddress.split(":");
  const socket = tls.connect({ host, port: Number(port), servername: "h2.cftunnel.com", ca: edge.caPem });
  await new Promise<void>((resolve, reject) => {
    socket.once("secureConnect", resolve);
    socket.once("error", reject);
  });
  const closed = new Promise<void>((resolve) => {
    socket.once("close", () => resolve());
  });
  const session = http2.performServerHandshake(socket, { settings: options.settings ?? {} });
  session.on("error", () => {});
  const rpc = await new Promise<RegistrationClient>((resolve, reject) => {
    session.once("close", () => reject(new Error("the edge closed the connection before the control stream")));
    session.on("stream", (stream, headers) => {
      stream.on("error", () => {});
      if (headers[UPGRADE] === "control-stream") {
        stream.respond({ ":status": 200 });
        resolve(createRegistrationClient(channelOf(stream)));
      } else if (options.onStream === undefined) stream.respond(originHead(200), { endStream: true });
      else options.onStream(stream, headers);
    });
  });
  const result = await rpc.register(
    {
      accountTag: credentials.accountTag,
      tunnelSecret: credentials.tunnelSecret.reveal(),
      tunnelId: credentials.tunnelId,
      connIndex: options.connIndex ?? 0,
      clientId: options.clientId ?? crypto.randomUUID(),
      features: ["allow_remote_config", "serialized_headers"],
      version: "0.0.1",
      arch: "linux_amd64",
      originLocalIp: "127.0.0.1",
      replaceExisting: false,
      numPreviousAttempts: 0,
    },
    { timeoutMs: 5_000 },
  );
  return { session, rpc, result, closed, close: () => socket.destroy() };
}
