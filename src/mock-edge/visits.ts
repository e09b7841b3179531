/** Visitors in this process: what the public listener does for real ones, without a socket. */
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import type { ReadableStream as NodeReadableStream } from "node:stream/web";
import { UnderpassError } from "../errors.ts";
import { createCloudflaredClient } from "../rpc/cloudflared-client.ts";
import type { StreamRequest } from "./carrier.ts";
import type { Connection } from "./connection.ts";
import { BAD_GATEWAY, type ErrorPage, NO_CONNECTION } from "./error-pages.ts";
import { type ConnectorAnswer, readAnswer } from "./response-head.ts";
import { endToEnd, type Field, visitorFields } from "./visitor-fields.ts";
import type { VisitorStream } from "./visitor-stream.ts";

/** No connection could take the stream, or the connector refused it. */
export class MockEdgeError extends UnderpassError {
  constructor(message: string) {
    super("ERR_UNDERPASS_MOCK_EDGE", message);
  }
}

/** Statuses whose responses have no body (the Fetch standard's null body statuses). */
const NULL_BODY = new Set([204, 205, 304]);

const VISITOR_ADDRESS = "127.0.0.1";

function newRay(location: string): string {
  return `${randomBytes(8).toString("hex")}-${location.replace(/\d+$/, "")}`;
}

function pageResponse(page: ErrorPage, ray: string): Response {
  return new Response(page.body, {
    status: page.status,
    statusText: page.statusText,
    headers: { "content-type": page.type, "cf-ray": ray },
  });
}

function response(answer: ConnectorAnswer, stream: VisitorStream, ray: string): Response {
  const headers = new Headers(endToEnd(answer.headers ?? []).map(([name, value]): [string, string] => [name, value]));
  headers.set("cf-ray", ray);
  if (!NULL_BODY.has(answer.status)) {
    return new Response(Readable.toWeb(stream) as ReadableStream<Uint8Array>, { status: answer.status, headers });
  }
  stream.resume();
  return new Response(null, { status: answer.status, headers });
}

/** An upload that breaks off must not look complete. */
function upload(request: Request, stream: VisitorStream): void {
  if (request.body === null) return;
  Readable.fromWeb(request.body as NodeReadableStream)
    .on("error", () => stream.cancel())
    .pipe(stream);
}

/** Sends one request through `connection`, and answers as the public listener would. Rejects only when `signal` aborts. */
export async function visit(
  connection: Connection | undefined,
  request: Request,
  init: RequestInit,
  location: string,
): Promise<Response> {
  const url = new URL(request.url);
  const ray = newRay(location);
  request.signal.throwIfAborted();
  const rawHeaders = [...request.headers].flat();
  // What is whole already has a length, as a real visitor's request has; only a stream goes without.
  const body = init.body instanceof ReadableStream ? undefined : Buffer.from(await request.arrayBuffer());
  if (body !== undefined && init.body !== undefined && init.body !== null)
    rawHeaders.push("content-length", String(body.length));
  const bodyless = body?.length === 0;
  const stream = connection?.openStream({
    method: request.method,
    authority: request.headers.get("host") ?? url.host,
    path: `${url.pathname}${url.search}`,
    fields: visitorFields(rawHeaders, {
      address: VISITOR_ADDRESS,
      ray,
      scheme: url.protocol === "http:" ? "http" : "https",
    }),
    end: bodyless,
  });
  if (stream === undefined) return pageResponse(NO_CONNECTION, ray);
  const abort = (): void => stream.cancel();
  request.signal.addEventListener("abort", abort, { once: true });
  stream.once("close", () => request.signal.removeEventListener("abort", abort));
  if (body === undefined) upload(request, stream);
  else if (!bodyless) stream.end(body);
  try {
    const answer = readAnswer(await stream.head);
    if (answer.headers !== undefined) return response(answer, stream, ray);
    stream.resume();
  } catch {
    stream.destroy();
    request.signal.throwIfAborted();
  }
  return pageResponse(BAD_GATEWAY, ray);
}

/** Opens a TCP stream to a literal `ip:port` behind the tunnel (wire § 4.6). */
export async function connectTcp(connection: Connection | undefined, destination: string): Promise<VisitorStream> {
  const fields: Field[] = [["cf-cloudflared-proxy-src", VISITOR_ADDRESS]];
  const stream = openOn(connection, { authority: destination, fields });
  const answer = readAnswer(await stream.head);
  if (answer.status === 200) return stream;
  stream.destroy();
  throw new MockEdgeError(
    `the connector did not connect to ${destination}: status ${answer.status}${answer.flowRateLimited ? ", its limit of flows is reached" : ""}`,
  );
}

export function openOn(connection: Connection | undefined, request: StreamRequest): VisitorStream {
  const stream = connection?.openStream(request);
  if (stream === undefined) throw new MockEdgeError("no connection is registered that takes a stream");
  return stream;
}

/** For the connector's answer to a call. */
const CALL_TIMEOUT_MS = 5_000;

export interface PushResult {
  /** Of the connector. */
  readonly clientId: string;
  /** Over QUIC, where the push is a call, always 200. */
  readonly status: number;
  /** Version that the connector says it runs now; undefined when the answer is not the expected JSON. */
  readonly lastAppliedVersion: number | undefined;
  /** Null where the connector reported none. */
  readonly error: unknown;
}

/** Pushes a configuration (wire §§ 4.8, 5.5). A string is sent as it stands, so that broken JSON can be tried. */
export async function pushConfiguration(
  connection: Connection,
  version: number,
  config: unknown,
  authority: string,
): Promise<PushResult> {
  if (connection.protocol === "quic") return await callWithConfiguration(connection, version, config);
  const stream = openOn(connection, {
    method: "POST",
    authority,
    path: "/",
    fields: [["cf-cloudflared-proxy-connection-upgrade", "update-configuration"]],
  });
  stream.end(
    typeof config === "string" ? `{"version":${version},"config":${config}}` : JSON.stringify({ version, config }),
  );
  const { status } = await stream.head;
  const body = Buffer.concat(await stream.toArray()).toString();
  let reply: unknown;
  try {
    reply = JSON.parse(body);
  } catch {
    reply = undefined;
  }
  const field = (name: string): unknown =>
    typeof reply === "object" && reply !== null ? (reply as Record<string, unknown>)[name] : undefined;
  const applied = field("lastAppliedVersion");
  return {
    clientId: connection.registration?.clientId ?? "",
    status,
    lastAppliedVersion: typeof applied === "number" ? applied : undefined,
    error: field("err") ?? null,
  };
}

async function callWithConfiguration(connection: Connection, version: number, config: unknown): Promise<PushResult> {
  const channel = connection.openRpc();
  if (channel === undefined) throw new MockEdgeError("the connection takes no further stream");
  const client = createCloudflaredClient(channel);
  try {
    const text = typeof config === "string" ? config : JSON.stringify(config);
    const result = await client.updateConfiguration(version, Buffer.from(text), { timeoutMs: CALL_TIMEOUT_MS });
    return {
      clientId: connection.registration?.clientId ?? "",
      status: 200,
      lastAppliedVersion: result.lastAppliedVersion,
      error: result.error ?? null,
    };
  } finally {
    client.close();
  }
}
