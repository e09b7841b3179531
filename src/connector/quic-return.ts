/**
 * The way back to QUIC, where connections had to take HTTP/2: now and then QUIC is tried beside them, and once it gets through,
 * they move one after another, each replaced before it is dropped.
 */
import { isIPv6 } from "node:net";
import type { EdgeAddress, Logger } from "../types.ts";
import type { ConnectionInfo } from "./api.ts";
import type { ProtocolDialer } from "./protocol-dialer.ts";

/** A network that lost its UDP for a moment soon has it again; one that forbids it is asked ever more seldom. */
export const FIRST_PROBE_MS = 60_000;
export const LONGEST_PROBE_MS = 3_600_000;
/** Between two connections that move. */
export const MOVE_SPACING_MS = 5_000;
/** QUIC that has held for so long counts as a network that has it. */
const STEADY_MS = 600_000;

export interface QuicReturnOptions {
  readonly dialer: Pick<ProtocolDialer, "fellBack" | "probe">;
  connections(): readonly ConnectionInfo[];
  /** Opens a new connection in place of this one. */
  replace(connIndex: number): void;
  readonly logger: Logger;
}

export class QuicReturn {
  readonly #options: QuicReturnOptions;
  readonly #abort = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #probeDelayMs = FIRST_PROBE_MS;
  #quicSince: number | undefined;

  constructor(options: QuicReturnOptions) {
    this.#options = options;
  }

  /** A connection has registered. */
  registered({ protocol }: Pick<ConnectionInfo, "protocol">): void {
    if (this.#abort.signal.aborted) return;
    if (!this.#options.dialer.fellBack) {
      this.#quicSince ??= performance.now();
      // What took HTTP/2 while QUIC did not answer.
      this.#arm(MOVE_SPACING_MS, () => this.#moveNext());
    } else if (protocol === "http2") {
      if (this.#quicSince !== undefined && performance.now() - this.#quicSince >= STEADY_MS) {
        this.#probeDelayMs = FIRST_PROBE_MS;
      }
      this.#quicSince = undefined;
      this.#probeLater();
    }
  }

  stop(): void {
    this.#abort.abort();
    clearTimeout(this.#timer);
  }

  #arm(delayMs: number, action: () => void): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      action();
    }, delayMs);
    // A tunnel lives by its connections.
    this.#timer.unref();
  }

  #probeLater(): void {
    if (this.#timer !== undefined) return;
    const delayMs = this.#probeDelayMs;
    this.#probeDelayMs = Math.min(delayMs * 2, LONGEST_PROBE_MS);
    this.#arm(delayMs, () => void this.#probe());
  }

  async #probe(): Promise<void> {
    const { signal } = this.#abort;
    const waiting = this.#onHttp2();
    if (waiting !== undefined && this.#options.dialer.fellBack) {
      const { connIndex, address } = waiting;
      const gotThrough = await this.#options.dialer.probe({ connIndex, address, signal });
      if (signal.aborted) return;
      if (!gotThrough) {
        this.#options.logger.debug("QUIC still does not get through", { connIndex });
        this.#probeLater();
        return;
      }
      this.#options.logger.info("QUIC gets through again: connections move back to it one by one");
    }
    this.#moveNext();
  }

  /** The next one follows when this one has registered. */
  #moveNext(): void {
    const waiting = this.#onHttp2();
    if (waiting === undefined) return;
    if (this.#options.dialer.fellBack) this.#probeLater();
    else this.#options.replace(waiting.connIndex);
  }

  #onHttp2(): { readonly connIndex: number; readonly address: EdgeAddress } | undefined {
    for (const { connIndex, edgeAddress, protocol, state } of this.#options.connections()) {
      if (protocol !== "http2" || state !== "registered" || edgeAddress === undefined) continue;
      return { connIndex, address: parseAddress(edgeAddress) };
    }
    return undefined;
  }
}

function parseAddress(text: string): EdgeAddress {
  const colon = text.lastIndexOf(":");
  const ip = text.slice(0, colon).replace(/^\[|\]$/g, "");
  return { ip, port: Number(text.slice(colon + 1)), family: isIPv6(ip) ? 6 : 4 };
}
