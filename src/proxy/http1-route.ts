/** An origin that speaks HTTP/1.1, with a keep-alive pool of its own. */
import { HeaderLineCache } from "../protocol/http1/header-line.ts";
import type { HttpRequest, OriginRequestOptions, WebSocketRequest } from "../types.ts";
import type { BackendContext } from "./backends/backend.ts";
import { HeldRequest } from "./held-request.ts";
import { type HttpContext, HttpExchange } from "./http-exchange.ts";
import { KeptBytes, withKnownLength } from "./known-length.ts";
import type { ConnectionUser } from "./origin-connection.ts";
import { OriginError } from "./origin-errors.ts";
import type { OriginNames } from "./origin-names.ts";
import { type HttpConnection, OriginPool } from "./origin-pool.ts";
import type { OriginTarget } from "./origin-target.ts";
import { bodyFraming, type RequestFields } from "./request-fields.ts";
import type { RequestRecord } from "./request-record.ts";
import type { NextOrigin, WireRoute } from "./wire-route.ts";

export class Http1Route implements WireRoute {
  readonly service: string;
  readonly where: string;
  readonly #names: OriginNames;
  readonly #fields: RequestFields;
  readonly #options: OriginRequestOptions;
  readonly #context: BackendContext;
  readonly #pool: OriginPool;
  readonly #kept = new KeptBytes();
  #last: HttpContext | undefined;

  constructor(
    target: OriginTarget,
    names: OriginNames,
    fields: RequestFields,
    options: OriginRequestOptions,
    context: BackendContext,
  ) {
    this.service = target.service;
    this.where = target.where;
    this.#names = names;
    this.#fields = fields;
    this.#options = options;
    this.#context = context;
    this.#pool = new OriginPool(options, new HeaderLineCache(), context.connections);
  }

  serve(request: HttpRequest | WebSocketRequest, record: RequestRecord, next: NextOrigin | undefined): void {
    if (this.#options.disableChunkedEncoding && request.kind === "http" && bodyFraming(request).kind === "chunked") {
      withKnownLength(request, record, this.#kept, (whole) => this.#reach(whole, record, next));
    } else {
      this.#reach(request, record, next);
    }
  }

  retire(): void {
    this.#pool.close();
  }

  /** Where another origin may have to take over, the visitor's bytes wait until there is a connection to give them to. */
  #reach(request: HttpRequest | WebSocketRequest, record: RequestRecord, next: NextOrigin | undefined): void {
    const target = this.#names.targetOf(request);
    if (next === undefined || request.stream.bodyless) {
      this.#exchange(request, record, next, target);
      return;
    }
    const idle = this.#pool.acquire(target, UNATTENDED);
    if (idle === undefined) this.#dial(request, record, next, target);
    else this.#exchange(request, record, next, target, idle);
  }

  #dial(request: HttpRequest | WebSocketRequest, record: RequestRecord, next: NextOrigin, target: OriginTarget): void {
    let isWaiting = true;
    const http = this.#pool.dial(target, {
      ...UNATTENDED,
      onOpen: () => {
        isWaiting = false;
        next.reached();
        held.release(() => this.#exchange(request, record, next, target, http));
      },
      onGone: (error) => {
        isWaiting = false;
        held.release(() => {
          if (!(error instanceof OriginError) || !next.unreachable(error, request)) throw error;
        });
      },
    });
    const held = new HeldRequest(request, record, "connect", () => {
      if (isWaiting) http.connection.destroy();
    });
  }

  #exchange(
    request: HttpRequest | WebSocketRequest,
    record: RequestRecord,
    next: NextOrigin | undefined,
    target: OriginTarget,
    open?: HttpConnection,
  ): void {
    const exchange = new HttpExchange(this.#exchangeContext(target), request, record, next);
    request.stream.sink = exchange;
    record.activate(exchange);
    exchange.start(open);
  }

  /** The one that was used last, mostly. */
  #exchangeContext(target: OriginTarget): HttpContext {
    if (this.#last?.target === target) return this.#last;
    const { resources } = this.#context;
    this.#last = { target, pool: this.#pool, fields: this.#fields, resources, options: this.#options };
    return this.#last;
  }
}

/** Of a connection between the pool and an exchange. */
const UNATTENDED: ConnectionUser = { onOpen() {}, onBytes() {}, onOriginEnd() {}, onGone() {} };
