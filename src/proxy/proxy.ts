/** What the edge asks for, on its way to the one origin of a tunnel. */
import type { HeaderField } from "../protocol/bytes/header-field.ts";
import { HeaderLineCache } from "../protocol/http1/header-line.ts";
import { Http1RequestError } from "../protocol/http1/errors.ts";
import type {
  CancelReason,
  EdgeRequest,
  HttpRequest,
  Logger,
  Origin,
  OriginRequestOptions,
  RequestObserver,
  TcpRequest,
  WebSocketRequest,
} from "../types.ts";
import { ActiveRequests } from "./active-requests.ts";
import { BadRequestError } from "./bad-request.ts";
import { BufferPool } from "./buffer-pool.ts";
import { answerStatus, discardingSink, refuseConfiguration } from "./direct-answers.ts";
import { FlushQueue } from "./flush-queue.ts";
import { type HttpContext, HttpExchange } from "./http-exchange.ts";
import { serveInProcess } from "./in-process/serve.ts";
import { OpenConnections } from "./open-connections.ts";
import { OriginError } from "./origin-errors.ts";
import { OriginPool } from "./origin-pool.ts";
import { literalTarget, originTarget } from "./origin-target.ts";
import { bodyFraming, RequestFields } from "./request-fields.ts";
import { type ProxiedRequest, type RecordContext, RequestRecord } from "./request-record.ts";
import { type TcpContext, TcpExchange } from "./tcp-exchange.ts";

export interface ProxyOptions {
  readonly origin: Origin;
  readonly originRequest: OriginRequestOptions;
  /** The connector's UUID, which the origin gets as `Cf-Warp-Tag-Id`. */
  readonly connectorId: string;
  readonly tags: readonly { readonly name: string; readonly value: string }[];
  readonly logger: Logger;
  readonly observer: RequestObserver;
  /** For TCP streams of the private network. Default 5,000 (warp-routing's connectTimeout). */
  readonly tcpConnectTimeoutMs?: number;
  /** PEM texts that replace Node's own roots for origins with TLS; called at the first such connection. */
  readonly originRoots?: () => readonly string[];
}

export interface Proxy {
  /** Sets `request.stream.sink` before it returns; never throws. */
  handle(request: EdgeRequest, connIndex: number): void;
  readonly activeRequests: number;
  /** Cancels what is under way, ends every socket, and resolves when they are gone. Idempotent. */
  close(): Promise<void>;
}

type InProcessOrigin = Extract<Origin, { kind: "server" | "listener" | "fetch" }>;

type Backend =
  | { readonly kind: "wire"; readonly context: HttpContext }
  | { readonly kind: "in-process"; readonly origin: InProcessOrigin; readonly fields: RequestFields }
  | { readonly kind: "status"; readonly status: number };

const DEFAULT_TCP_CONNECT_TIMEOUT_MS = 5_000;
const IN_PROCESS_HOST = "localhost";

class OriginProxy implements Proxy {
  readonly #service: string;
  readonly #backend: Backend;
  readonly #tcp: TcpContext;
  readonly #records: RecordContext;
  readonly #connections = new OpenConnections();
  readonly #logger: Logger;
  #closed = false;

  constructor(options: ProxyOptions) {
    const resources = { buffers: new BufferPool(), flushes: new FlushQueue() };
    this.#logger = options.logger;
    this.#records = { logger: options.logger, observer: options.observer, active: new ActiveRequests() };
    const tcpOptions = {
      ...options.originRequest,
      connectTimeoutMs: options.tcpConnectTimeoutMs ?? DEFAULT_TCP_CONNECT_TIMEOUT_MS,
    };
    this.#tcp = { options: tcpOptions, connections: this.#connections, resources };
    const { origin, originRequest } = options;
    const fieldsFor = (fallbackHost: string): RequestFields =>
      new RequestFields({
        connectorId: options.connectorId,
        tags: options.tags,
        hostHeader: originRequest.httpHostHeader,
        fallbackHost,
      });
    switch (origin.kind) {
      case "url":
      case "unix": {
        const target = originTarget(origin, originRequest, options.originRoots);
        const pool = new OriginPool(target, originRequest, new HeaderLineCache(), this.#connections);
        this.#backend = { kind: "wire", context: { target, pool, fields: fieldsFor(target.host), resources } };
        this.#service = target.service;
        break;
      }
      case "status":
        this.#backend = { kind: "status", status: origin.status };
        this.#service = `http_status:${origin.status}`;
        break;
      case "server":
      case "listener":
      case "fetch":
        this.#backend = { kind: "in-process", origin, fields: fieldsFor(IN_PROCESS_HOST) };
        this.#service = `in-process:${origin.kind}`;
        break;
    }
  }

  get activeRequests(): number {
    return this.#records.active.size;
  }

  handle(request: EdgeRequest, connIndex: number): void {
    if (request.kind === "configuration") {
      refuseConfiguration(request);
      return;
    }
    const service = request.kind === "tcp" ? "warp-routing" : this.#service;
    const record = new RequestRecord(this.#records, request, connIndex, service);
    try {
      if (this.#closed) this.#refuse(request, record, "shutdown");
      else if (request.kind === "tcp") this.#handleTcp(request, record);
      else this.#handleHttp(request, connIndex, record);
    } catch (error) {
      this.#failed(request, record, error);
    }
  }

  #handleTcp(request: TcpRequest, record: RequestRecord): void {
    const target = literalTarget(request.destination);
    if (target === undefined) {
      throw new BadRequestError("the destination of a TCP stream must be a literal ip:port, IPv6 in brackets");
    }
    const exchange = new TcpExchange(this.#tcp, request, target, record);
    request.stream.sink = exchange;
    record.activate(exchange);
  }

  #handleHttp(request: HttpRequest | WebSocketRequest, connIndex: number, record: RequestRecord): void {
    const backend = this.#backend;
    switch (backend.kind) {
      case "wire": {
        const exchange = new HttpExchange(backend.context, request, record);
        request.stream.sink = exchange;
        record.activate(exchange);
        exchange.start();
        break;
      }
      case "in-process":
        this.#serveInProcess(
          backend.origin,
          backend.fields.list(request, bodyFraming(request)),
          request,
          connIndex,
          record,
        );
        break;
      case "status":
        answerStatus(request, backend.status, record);
        break;
    }
  }

  #serveInProcess(
    origin: InProcessOrigin,
    forwarded: readonly HeaderField[],
    request: HttpRequest | WebSocketRequest,
    connIndex: number,
    record: RequestRecord,
  ): void {
    const { stream } = request;
    record.activate({
      cancel(reason: CancelReason): void {
        const { sink } = stream;
        stream.abort();
        sink.onCancel(reason);
      },
    });
    serveInProcess(request, origin, {
      forwarded,
      connIndex,
      report: (result) => {
        record.status = result.status;
        record.finish(result.class, result.phase, result.error);
      },
    });
  }

  #refuse(request: ProxiedRequest, record: RequestRecord, outcome: "shutdown"): void {
    request.stream.sink = discardingSink(request);
    request.stream.abort();
    record.status = 502;
    record.finish(outcome, "match");
  }

  #failed(request: ProxiedRequest, record: RequestRecord, cause: unknown): void {
    const error = cause instanceof Error ? cause : new Error(String(cause));
    const isBadRequest = error instanceof Http1RequestError || error instanceof BadRequestError;
    request.stream.sink = discardingSink(request);
    record.status = 502;
    if (error instanceof OriginError) record.finish(error.outcome, error.phase, error);
    else record.finish(isBadRequest ? "bad-request" : "handler-error", "request", error);
    request.stream.abort();
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const request of this.#records.active.all()) {
      try {
        request.cancel("shutdown");
      } catch (error) {
        this.#logger.error("Cancelling a request failed", { error });
      }
    }
    if (this.#backend.kind === "wire") this.#backend.context.pool.close();
    await this.#connections.none();
  }
}

export function createProxy(options: ProxyOptions): Proxy {
  return new OriginProxy(options);
}
