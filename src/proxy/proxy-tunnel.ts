/**
 * Bytes to an origin by way of a proxy (RFC 9110 § 9.3.6). What is written before the proxy has answered waits:
 *
 *   CONNECT host:port HTTP/1.1 CRLF, Host, Proxy-Authorization, CRLF   →
 *                                     ←   HTTP/1.1 2xx …, fields, CRLF, then the origin's bytes
 */
import net from "node:net";
import { Duplex } from "node:stream";
import type { OriginProxy } from "./environment-proxy.ts";
import { OriginError } from "./origin-errors.ts";

/** A proxy that never ends its answer's head would have us keep it. */
const MAX_HEAD_BYTES = 16 * 1024;

type Done = (error?: Error | null) => void;

export class ProxyTunnel extends Duplex {
  /** To the proxy. */
  readonly socket: net.Socket;
  readonly #destination: string;
  readonly #onOpen: () => void;
  #head = Buffer.alloc(0);
  #isOpen = false;
  #waiting: (() => void) | undefined;

  /** @param destination `host:port` @param onOpen called once, before the first byte of the origin */
  constructor(socket: net.Socket, proxy: OriginProxy, destination: string, onOpen: () => void) {
    super({ allowHalfOpen: true, autoDestroy: false });
    this.socket = socket;
    this.#destination = destination;
    this.#onOpen = onOpen;
    const { authorization } = proxy;
    const credentials = authorization === undefined ? "" : `Proxy-Authorization: ${authorization}\r\n`;
    socket.on("connect", () =>
      socket.write(`CONNECT ${destination} HTTP/1.1\r\nHost: ${destination}\r\n${credentials}\r\n`),
    );
    socket.on("data", (chunk: Buffer) => this.#received(chunk));
    socket.on("end", () => this.#ended());
    socket.on("error", (error) => this.destroy(error));
    socket.on("close", () => this.destroy());
  }

  override _read(): void {
    this.socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#whenOpen(() => this.socket.write(chunk, done));
  }

  override _final(done: Done): void {
    this.#whenOpen(() => {
      this.socket.end();
      done();
    });
  }

  override _destroy(error: Error | null, done: Done): void {
    this.socket.destroy();
    done(error);
  }

  #whenOpen(call: () => void): void {
    if (this.#isOpen) call();
    else this.#waiting = call;
  }

  #received(chunk: Buffer): void {
    if (this.#isOpen) {
      if (!this.push(chunk)) this.socket.pause();
      return;
    }
    this.#head = Buffer.concat([this.#head, chunk]);
    const end = this.#head.indexOf("\r\n\r\n");
    if (end >= 0) this.#answered(this.#head.subarray(0, end).toString("latin1"), this.#head.subarray(end + 4));
    else if (this.#head.length > MAX_HEAD_BYTES) this.#refused("with a head that does not end");
  }

  #answered(head: string, rest: Buffer): void {
    const status = /^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1];
    if (status === undefined || !status.startsWith("2")) {
      this.#refused(status === undefined ? "in another protocol than HTTP/1.1" : `with status ${status}`);
      return;
    }
    this.#isOpen = true;
    this.#head = Buffer.alloc(0);
    this.#onOpen();
    if (rest.length > 0) this.#received(rest);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.();
  }

  #ended(): void {
    if (this.#isOpen) this.push(null);
    else this.#refused("by closing the connection");
  }

  #refused(how: string): void {
    const problem = `the proxy answered CONNECT ${this.#destination} ${how}; NO_PROXY has the hosts that are reached without it`;
    this.destroy(new OriginError("origin-refused", "connect", problem));
  }
}
