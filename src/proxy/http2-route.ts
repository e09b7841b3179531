/** An origin that speaks HTTP/2, or is asked whether it does. WebSockets, and what it declines, go over HTTP/1.1. */
import type { HttpRequest, WebSocketRequest } from "../types.ts";
import { failRequest } from "./failed-request.ts";
import { HeldRequest } from "./held-request.ts";
import { type Elsewhere, Http2Exchange } from "./http2/exchange.ts";
import type { OriginSession, SessionContext } from "./http2/session.ts";
import { OriginSessions, type SessionWaiter } from "./http2/sessions.ts";
import type { OpenConnections } from "./open-connections.ts";
import type { OriginNames } from "./origin-names.ts";
import type { RequestFields } from "./request-fields.ts";
import type { RequestRecord } from "./request-record.ts";
import type { NextOrigin, WireRoute } from "./wire-route.ts";

/** How often a request that the origin refuses unseen is sent again. */
const MAX_REPEATS = 1;

export class Http2Route implements WireRoute {
  readonly #http1: WireRoute;
  readonly #names: OriginNames;
  readonly #fields: RequestFields;
  readonly #context: SessionContext;
  readonly #sessions: OriginSessions;

  constructor(
    http1: WireRoute,
    names: OriginNames,
    fields: RequestFields,
    context: SessionContext,
    connections: OpenConnections,
  ) {
    this.#http1 = http1;
    this.#names = names;
    this.#fields = fields;
    this.#context = context;
    this.#sessions = new OriginSessions(context, connections);
  }

  get service(): string {
    return this.#http1.service;
  }

  get where(): string {
    return this.#http1.where;
  }

  serve(request: HttpRequest | WebSocketRequest, record: RequestRecord, next: NextOrigin | undefined): void {
    if (request.kind === "websocket") this.#http1.serve(request, record, next);
    else this.#serve(request, record, next, 0);
  }

  retire(): void {
    this.#sessions.retire();
    this.#http1.retire();
  }

  #serve(request: HttpRequest, record: RequestRecord, next: NextOrigin | undefined, repeats: number): void {
    const target = this.#names.targetOf(request);
    const session = this.#sessions.find(target);
    if (session !== undefined) {
      next?.reached();
      this.#exchange(session, request, record, next, repeats);
      return;
    }
    if (this.#sessions.speaksHttp1(target)) {
      this.#http1.serve(request, record, next);
      return;
    }
    let isWaiting = true;
    const release = (serve: () => void): void => {
      isWaiting = false;
      held.release(serve);
    };
    const waiter: SessionWaiter = {
      onSession: (opened) => {
        next?.reached();
        release(() => this.#exchange(opened, request, record, next, repeats));
      },
      onDeclined: () => release(() => this.#http1.serve(request, record, next)),
      onFailed: (error) =>
        release(() => {
          if (next?.unreachable(error, request) !== true) throw error;
        }),
    };
    this.#sessions.wait(target, waiter);
    const held = new HeldRequest(request, record, "connect", () => {
      if (isWaiting) this.#sessions.forget(target, waiter);
    });
  }

  #exchange(
    session: OriginSession,
    request: HttpRequest,
    record: RequestRecord,
    next: NextOrigin | undefined,
    repeats: number,
  ): void {
    const elsewhere: Elsewhere = (again, http1) => {
      if (!http1 && repeats >= MAX_REPEATS) return false;
      try {
        if (http1) this.#http1.serve(again, record, next);
        else this.#serve(again, record, next, repeats + 1);
      } catch (error) {
        failRequest(again, record, error);
      }
      return true;
    };
    const context = { session, fields: this.#fields, options: this.#context.options };
    const exchange = new Http2Exchange(context, request, record, elsewhere);
    request.stream.sink = exchange;
    record.activate(exchange);
    exchange.start();
  }
}
