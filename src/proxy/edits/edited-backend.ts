/** A rule's service that gets its requests as the rule's edits make them, and whose answers the visitor gets so. */
import type { HeaderField } from "../../protocol/bytes/header-field.ts";
import type {
  EdgeStream,
  HttpRequest,
  OriginRequestOptions,
  ResponseHead,
  StreamSink,
  WebSocketRequest,
} from "../../types.ts";
import type { Backend } from "../backends/backend.ts";
import { type EditHeaders, headerEdit } from "./header-edits.ts";
import { pathEdit } from "./path-prefix.ts";

/** The very same backend when the rule edits nothing. */
export function withEdits(backend: Backend, options: OriginRequestOptions): Backend {
  const editPath = pathEdit(options);
  const editRequest = headerEdit(options.requestHeaders);
  const editResponse = headerEdit(options.responseHeaders);
  if (editPath === undefined && editRequest === undefined && editResponse === undefined) return backend;
  const edited = <T extends HttpRequest | WebSocketRequest>(request: T): T => ({
    ...request,
    path: request.method === "CONNECT" ? request.path : (editPath?.(request.path) ?? request.path),
    headers: editRequest?.(request.headers) ?? request.headers,
    stream: editResponse === undefined ? request.stream : new EditedStream(request.stream, editResponse),
  });
  return {
    service: backend.service,
    serve: (request, connIndex, record) => backend.serve(edited(request), connIndex, record),
    retire: () => backend.retire(),
  };
}

class EditedStream implements EdgeStream {
  readonly bodyless: boolean;
  readonly #stream: EdgeStream;
  readonly #edit: EditHeaders;

  constructor(stream: EdgeStream, edit: EditHeaders) {
    this.#stream = stream;
    this.#edit = edit;
    this.bodyless = stream.bodyless;
  }

  get sink(): StreamSink {
    return this.#stream.sink;
  }

  set sink(sink: StreamSink) {
    this.#stream.sink = sink;
  }

  consumed(bytes: number): void {
    this.#stream.consumed(bytes);
  }

  /** The connector's own answers are not the service's. */
  respond(head: ResponseHead, end: boolean): void {
    const isEdited = head.source === "origin";
    this.#stream.respond(isEdited ? { ...head, headers: this.#edit(head.headers) } : head, end);
  }

  write(chunk: Buffer, last: boolean): boolean {
    return this.#stream.write(chunk, last);
  }

  end(trailers?: readonly HeaderField[]): void {
    this.#stream.end(trailers);
  }

  abort(): void {
    this.#stream.abort();
  }
}
