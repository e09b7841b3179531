/** A UDP session as the edge has it: what a user of WARP sends to an address behind the tunnel, and what comes back. */
import { MockEdgeError } from "./visits.ts";

/** What nobody has taken yet; more is lost, as UDP is. */
const MAX_WAITING = 1_000;

interface Taker {
  readonly resolve: (payload: Buffer) => void;
  readonly reject: (error: Error) => void;
}

export class UdpSession {
  /** UUID. */
  readonly id: string;
  readonly version: 2 | 3;
  /** Resolves when the session is over, with what the connector said of it; undefined when it said nothing. */
  readonly closed: Promise<string | undefined>;
  readonly #send: (payload: Uint8Array) => boolean;
  readonly #close: () => Promise<void>;
  readonly #waiting: Buffer[] = [];
  readonly #takers: Taker[] = [];
  #isOpen = true;
  #resolveClosed!: (message: string | undefined) => void;

  /** Made by `MockEdge.openUdpSession`. */
  constructor(id: string, version: 2 | 3, send: (payload: Uint8Array) => boolean, close: () => Promise<void>) {
    this.id = id;
    this.version = version;
    this.#send = send;
    this.#close = close;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
  }

  /** Sends one datagram to the session's destination; false where the connection takes none. At most 1,280 bytes. */
  send(payload: Uint8Array): boolean {
    return this.#isOpen && this.#send(payload);
  }

  /** The next datagram that comes back. Rejects with MockEdgeError when the session ends, or after `timeoutMs` (default 5,000). */
  receive(options: { readonly timeoutMs?: number } = {}): Promise<Buffer> {
    const payload = this.#waiting.shift();
    if (payload !== undefined) return Promise.resolve(payload);
    if (!this.#isOpen) return Promise.reject(new MockEdgeError("the UDP session is over"));
    const { timeoutMs = 5_000 } = options;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#takers.splice(this.#takers.indexOf(taker), 1);
        reject(new MockEdgeError(`no datagram came back on the UDP session within ${timeoutMs} ms`));
      }, timeoutMs);
      const taker: Taker = {
        resolve(taken) {
          clearTimeout(timer);
          resolve(taken);
        },
        reject(error) {
          clearTimeout(timer);
          reject(error);
        },
      };
      this.#takers.push(taker);
    });
  }

  /** Ends the session. Version 2 tells the connector; version 3 has no word for it, the session becomes idle. */
  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.over(undefined);
    await this.#close();
  }

  /** For the mock edge. */
  deliver(payload: Buffer): void {
    const taker = this.#takers.shift();
    if (taker !== undefined) taker.resolve(Buffer.from(payload));
    else if (this.#waiting.length < MAX_WAITING) this.#waiting.push(Buffer.from(payload));
  }

  /** For the mock edge. */
  over(message: string | undefined): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#resolveClosed(message);
    for (const taker of this.#takers.splice(0)) taker.reject(new MockEdgeError("the UDP session is over"));
  }
}
