/** What came back on a stream, as JSON. */
import {
  type Field,
  type MockEdge,
  readAnswer,
  type StreamRequest,
  type VisitorStream,
  VisitorStreamError,
  type WireHead,
} from "../../../src/mock-edge/index.ts";
import { type Json, within } from "./row.ts";

const PATIENCE_MS = 10_000;

/** Added by the HTTP/2 server of one connector or another; the edge ignores them (wire: response mapping). */
const NOISE = new Set(["date", "content-type", "server"]);

function lowerSorted(fields: readonly Field[]): Json {
  return fields
    .map(([name, value]): [string, string] => [name.toLowerCase(), value])
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

export function describeHead(head: WireHead): Json {
  const { status, headers, flowRateLimited } = readAnswer(head);
  if (head.answer !== undefined) {
    // QUIC: the texts of errors are for the edge's operators, and each connector has its own.
    const error = head.fields.some(([name]) => name === "x-connector-error") ? "set" : null;
    return { status, error, flowRateLimited, headers: headers === undefined ? null : lowerSorted(headers) };
  }
  const field = (name: string): Json => head.fields.find(([other]) => other === name)?.[1] ?? null;
  const others = head.fields
    .map(([name]) => name)
    .filter((name) => !NOISE.has(name) && !name.startsWith("cf-cloudflared-response-"));
  return {
    status,
    meta: field("cf-cloudflared-response-meta"),
    headers: headers === undefined ? null : lowerSorted(headers),
    fields: others.sort(),
  };
}

export interface Ended {
  readonly body: string;
  /** `clean`, or why not. */
  readonly end: string;
  readonly trailers: Json;
}

function reason(error: unknown): string {
  if (!(error instanceof VisitorStreamError)) return "error";
  return error.resetCode === undefined ? "connection lost" : `reset ${error.resetCode}`;
}

/** Reads a stream to its end. */
export async function readToEnd(stream: VisitorStream): Promise<Ended> {
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  const end = await within(
    PATIENCE_MS,
    "the end of a stream",
    new Promise<string>((resolve) => {
      stream.on("end", () => resolve("clean"));
      stream.on("error", (error) => resolve(reason(error)));
      if (stream.errored !== null) resolve(reason(stream.errored));
      else if (stream.readableEnded) resolve("clean");
    }),
  );
  const body = Buffer.concat(chunks);
  const text = body.toString("latin1");
  return {
    body: /^[\t\n\r -~]*$/.test(text) ? text : `hex ${body.toString("hex")}`,
    end,
    trailers: lowerSorted(stream.trailers),
  };
}

export async function describeAnswer(stream: VisitorStream): Promise<Json> {
  let head: Json;
  const ended = readToEnd(stream);
  try {
    head = describeHead(await within(PATIENCE_MS, "a response head", stream.head));
  } catch (error) {
    if (!(error instanceof VisitorStreamError)) throw error;
    head = null;
  }
  const { body, end, trailers } = await ended;
  return { head, body, end, trailers };
}

/** One request, and the whole of its answer. `body` ends the request; without it the request has none. */
export async function ask(
  edge: MockEdge,
  request: Partial<StreamRequest> & { readonly path?: string },
  body?: string,
): Promise<Json> {
  const stream = edge.openStream({ authority: "app.example.com", ...request, end: body === undefined });
  if (body !== undefined) stream.end(body);
  return await describeAnswer(stream);
}

export const UPGRADE = "cf-cloudflared-proxy-connection-upgrade";
