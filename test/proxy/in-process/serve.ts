/** Serves one request by an origin in this process, with the fields that the proxy would forward. */
import { EventEmitter, once } from "node:events";
import { AbandonedHandlers } from "../../../src/proxy/in-process/abandoned-handlers.ts";
import type { InProcessOrigin } from "../../../src/proxy/in-process/endpoint.ts";
import { type InProcessContext, serveInProcess } from "../../../src/proxy/in-process/serve.ts";
import { bodyFraming, RequestFields } from "../../../src/proxy/request-fields.ts";
import type { FetchHandler, RequestListener, UpgradeListener } from "../../../src/types.ts";
import { FakeStream, type FakeStreamOptions, fieldsOf, httpRequest, webSocketRequest } from "../fake-stream.ts";

export const CONNECTOR_ID = "0a1b2c3d-0000-4000-8000-000000000001";

export type Report = Parameters<InProcessContext["report"]>[0];

export interface Served {
  readonly stream: FakeStream;
  readonly reports: readonly Report[];
  /** The one report; rejects when there is a second one by then. */
  readonly outcome: () => Promise<Report>;
}

export interface ServeOptions extends FakeStreamOptions {
  readonly method?: string;
  readonly path?: string;
  readonly authority?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly contentLength?: number;
  readonly websocket?: boolean;
  readonly abandoned?: AbandonedHandlers;
}

const FIELDS = new RequestFields({
  connectorId: CONNECTOR_ID,
  tags: [],
  hostHeader: undefined,
  fallbackHost: "localhost",
});

/** Without `bodyless: false` the request has no body. */
export function serve(origin: InProcessOrigin, options: ServeOptions = {}): Served {
  const { abandoned = new AbandonedHandlers(), websocket, headers, ...rest } = options;
  const stream = new FakeStream({ bodyless: websocket !== true, ...options });
  const parts = { ...rest, headers: fieldsOf(headers ?? {}) };
  const request = websocket === true ? webSocketRequest(stream, parts) : httpRequest(stream, parts);
  const reports: Report[] = [];
  const events = new EventEmitter();
  serveInProcess(request, origin, {
    forwarded: FIELDS.list(request, bodyFraming(request)),
    connIndex: 3,
    abandoned,
    report(result) {
      reports.push(result);
      events.emit("report");
    },
  });
  return {
    stream,
    reports,
    async outcome() {
      if (reports.length === 0) await once(events, "report");
      // A second report would come with what the first one set off.
      await new Promise(setImmediate);
      const [report] = reports;
      if (report === undefined || reports.length > 1) throw new Error(`${reports.length} reports`);
      return report;
    },
  };
}

export function listenerOrigin(listener: RequestListener, upgrade?: UpgradeListener): InProcessOrigin {
  return { kind: "listener", listener, upgrade };
}

export function fetchOrigin(fetch: FetchHandler, upgrade?: UpgradeListener): InProcessOrigin {
  return { kind: "fetch", fetch, upgrade };
}

/** The visitor's stream, the whole answer read, and its body as text. */
export async function answer(origin: InProcessOrigin, options: ServeOptions = {}): Promise<Served & { text: string }> {
  const served = serve(origin, options);
  await served.stream.done();
  return { ...served, text: served.stream.body.toString() };
}
