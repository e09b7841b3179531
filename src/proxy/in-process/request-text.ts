/** A request as the HTTP/1.1 text that an http.Server reads. */
import type { HeaderField } from "../../protocol/bytes/header-field.ts";
import { fieldLine, isTrailerField, requestLine } from "../../protocol/http1/request-head.ts";
import type { HttpRequest, WebSocketRequest } from "../../types.ts";

/** The fields are checked when they are written: what could end a line early throws an Http1RequestError. */
export function requestHead(request: HttpRequest | WebSocketRequest, fields: readonly HeaderField[]): Buffer {
  let head = requestLine(request.method, requestTarget(request));
  for (const { name, value } of fields) {
    // Each connection carries one request, and the server is told so: then it closes the socket as soon as it is done with it.
    const isPersistent = request.kind === "http" && name === "Connection";
    head += isPersistent ? "Connection: close\r\n" : fieldLine(name, value);
  }
  return Buffer.from(`${head}\r\n`, "latin1");
}

function requestTarget({ method, path, authority }: HttpRequest | WebSocketRequest): string {
  if (path !== "") return path;
  // RFC 9112 § 3.2.3: CONNECT has the authority in the path's place.
  return method === "CONNECT" ? authority : "/";
}

/** `chunk = chunk-size CRLF chunk-data CRLF` (RFC 9112 § 7.1). */
export function chunkOf(data: Buffer): Buffer {
  const size = `${data.length.toString(16)}\r\n`;
  const chunk = Buffer.allocUnsafe(size.length + data.length + 2);
  chunk.write(size, "latin1");
  data.copy(chunk, size.length);
  chunk.write("\r\n", size.length + data.length, "latin1");
  return chunk;
}

/** `last-chunk trailer-section CRLF`. */
export function lastChunk(trailers: readonly HeaderField[]): Buffer {
  const lines = trailers.filter(isTrailerField).map(({ name, value }) => fieldLine(name, value));
  return Buffer.from(`0\r\n${lines.join("")}\r\n`, "latin1");
}
