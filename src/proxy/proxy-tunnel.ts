/** Bytes to an origin by way of a proxy (RFC 9110 § 9.3.6). What is written before the proxy has answered waits. */
import net from "node:net";
import { Duplex } from "node:stream";
import { ConnectAnswer, connectRequest } from "../protocol/http1/connect.ts";
import type { OriginProxy } from "./environment-proxy.ts";
import { OriginError } from "./origin-errors.ts";

type Done = (error?: Error | null) => void;

export class ProxyTunnel extends Duplex {
  /** To the proxy. */
  readonly socket: net.Socket;
  readonly #destination: string;
  readonly #onOpen: () => void;
  readonly #answer = new ConnectAnswer();
  #isOpen = false;
  #waiting: (() => void) | undefined;

  /** @param destination `host:port` @param onOpen called once, before the first byte of the origin */
  constructor(socket: net.Socket, proxy: OriginProxy, destination: string, onOpen: () => void) {
    super({ allowHalfOpen: true, autoDestroy: false });
    this.socket = socket;
    this.#destination = destination;
    this.#onOpen = onOpen;
    socket.on("connect", () => socket.write(connectRequest(destination, proxy.authorization)));
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
    const progress = this.#answer.receive(chunk);
    if (progress.kind === "refused") this.#refused(progress.how);
    else if (progress.kind === "open") this.#opened(progress.rest);
  }

  #opened(rest: Buffer): void {
    this.#isOpen = true;
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
