/** A rule's service behind Cloudflare Access: whoever has no good token gets 403, and the service does not hear of it. */
import type { HeaderField } from "../../protocol/bytes/header-field.ts";
import type { AccessPolicy, HttpRequest, WebSocketRequest } from "../../types.ts";
import type { Backend } from "../backends/backend.ts";
import { discardingSink } from "../direct-answers.ts";
import { answerEmpty } from "../error-page.ts";
import { HeldRequest } from "../held-request.ts";
import type { RequestRecord } from "../request-record.ts";
import { AccessDeniedError } from "./errors.ts";
import type { KeySets } from "./key-sets.ts";
import { MAX_TOKEN_LENGTH } from "./limits.ts";
import { Validator } from "./validator.ts";

const TOKEN_FIELD = "cf-access-jwt-assertion";

/** Of two, the origin might believe the one that nobody looked at. */
function tokenOf(headers: readonly HeaderField[]): string | AccessDeniedError {
  let token: string | undefined;
  for (const { name, value } of headers) {
    if (name.length !== TOKEN_FIELD.length || name.toLowerCase() !== TOKEN_FIELD) continue;
    if (token !== undefined) return new AccessDeniedError("malformed", { detail: "it has two tokens" });
    token = value;
  }
  if (token === undefined || token === "") return new AccessDeniedError("missing");
  if (token.length <= MAX_TOKEN_LENGTH) return token;
  return new AccessDeniedError("malformed", { detail: `its token is longer than ${MAX_TOKEN_LENGTH} characters` });
}

/** As cloudflared does it: an answer of the origin's, which the edge passes on. */
function deny(request: HttpRequest | WebSocketRequest, record: RequestRecord, error: AccessDeniedError): void {
  request.stream.sink = discardingSink(request);
  answerEmpty(request.stream, 403, "origin");
  record.status = 403;
  record.finish("access-denied", "access", error);
}

class Gate implements Backend {
  readonly #backend: Backend;
  readonly #validator: Validator;
  /** Requests whose tokens are being verified. */
  #held = 0;
  #retired = false;

  constructor(backend: Backend, validator: Validator) {
    this.#backend = backend;
    this.#validator = validator;
  }

  get service(): string {
    return this.#backend.service;
  }

  serve(request: HttpRequest | WebSocketRequest, connIndex: number, record: RequestRecord): void {
    const token = tokenOf(request.headers);
    if (token instanceof AccessDeniedError) {
      deny(request, record, token);
      return;
    }
    if (this.#validator.remembers(token)) {
      this.#backend.serve(request, connIndex, record);
      return;
    }
    this.#held++;
    const held = new HeldRequest(request, record, "access", () => this.#letGo());
    void this.#validator.verify(token).then((denied) => {
      held.release(() => {
        if (denied === undefined) this.#backend.serve(request, connIndex, record);
        else deny(request, record, denied);
      });
    });
  }

  /** The service is still there for the requests that are held. */
  retire(): void {
    if (this.#retired) return;
    this.#retired = true;
    if (this.#held === 0) this.#close();
  }

  #letGo(): void {
    this.#held--;
    if (this.#retired && this.#held === 0) this.#close();
  }

  #close(): void {
    this.#backend.retire();
    this.#validator.close();
  }
}

/** Nobody's token could be right. */
function shut(backend: Backend): Backend {
  return {
    service: backend.service,
    serve: (request, _connIndex, record) => deny(request, record, new AccessDeniedError("not-configured")),
    retire: () => backend.retire(),
  };
}

/** `backend` for those whom `policy`, which is required, lets in. */
export function withAccess(backend: Backend, policy: AccessPolicy, keySets: KeySets): Backend {
  const validator = Validator.create(policy, keySets);
  return validator === undefined ? shut(backend) : new Gate(backend, validator);
}
