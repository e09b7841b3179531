/**
 * A tunnel through an HTTP proxy, the client's side (RFC 9110 § 9.3.6):
 *
 *   CONNECT host:port HTTP/1.1 CRLF, Host, Proxy-Authorization, CRLF   →
 *                                     ←   HTTP/1.1 2xx …, fields, CRLF, then the destination's bytes
 */

/** A proxy that never ends its answer's head would have us keep it. */
const MAX_HEAD_BYTES = 16 * 1024;

/** @param destination `host:port` @param authorization value of `Proxy-Authorization` */
export function connectRequest(destination: string, authorization: string | undefined): string {
  const credentials = authorization === undefined ? "" : `Proxy-Authorization: ${authorization}\r\n`;
  return `CONNECT ${destination} HTTP/1.1\r\nHost: ${destination}\r\n${credentials}\r\n`;
}

export type ConnectProgress =
  | { readonly kind: "more" }
  /** `rest` is the destination's. */
  | { readonly kind: "open"; readonly rest: Buffer }
  /** `how` ends the sentence "the proxy answered …". */
  | { readonly kind: "refused"; readonly how: string; readonly status?: number };

/** Reads the proxy's answer. */
export class ConnectAnswer {
  #head = Buffer.alloc(0);
  #received = 0;

  receive(chunk: Buffer): ConnectProgress {
    this.#received += chunk.length;
    this.#head = Buffer.concat([this.#head, chunk]);
    for (;;) {
      if (!"HTTP/1.".startsWith(this.#head.toString("latin1", 0, 7))) {
        return { kind: "refused", how: "in another protocol than HTTP/1.1" };
      }
      const end = this.#head.indexOf("\r\n\r\n");
      if (end < 0) {
        const isEndless = this.#received > MAX_HEAD_BYTES;
        return isEndless ? { kind: "refused", how: "with a head that does not end" } : { kind: "more" };
      }
      const status = /^HTTP\/1\.[01] (\d{3})/.exec(this.#head.toString("latin1", 0, end))?.[1];
      if (status === undefined) return { kind: "refused", how: "in another protocol than HTTP/1.1" };
      this.#head = this.#head.subarray(end + 4);
      if (status.startsWith("2")) return { kind: "open", rest: this.#head };
      // Only what is final counts (RFC 9110 § 15.2).
      if (!status.startsWith("1")) return { kind: "refused", how: `with status ${status}`, status: Number(status) };
    }
  }
}
