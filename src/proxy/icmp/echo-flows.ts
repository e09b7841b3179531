/**
 * Where answers to echo requests go. A flow is what one `ping` of a visitor sends: same source, destination and identifier.
 * The connection by which its last request came gets the answers.
 */
import type { IcmpPacket } from "../../protocol/datagram/icmp-packet.ts";
import { FLOW_IDLE_MS, MAX_FLOWS } from "./limits.ts";

/** The way back, by one connection. */
export interface IcmpReturn {
  readonly connIndex: number;
  /** `packet` is the caller's no more. */
  send(packet: Buffer): void;
}

export interface EchoFlow {
  back: IcmpReturn;
  lastActive: number;
}

export class EchoFlows {
  /** The longest idle one first. */
  readonly #flows = new Map<string, EchoFlow>();
  #timer: NodeJS.Timeout | undefined;

  get size(): number {
    return this.#flows.size;
  }

  /** The flow that the echo request belongs to; its answers go to `back` from now on. */
  use({ source, destination, rest }: IcmpPacket, back: IcmpReturn): EchoFlow {
    const key = Buffer.concat([source, destination, rest.subarray(0, 2)]).toString("latin1");
    const now = performance.now();
    const flow = this.#flows.get(key) ?? { back, lastActive: now };
    flow.back = back;
    flow.lastActive = now;
    this.#flows.delete(key);
    this.#flows.set(key, flow);
    if (this.#flows.size > MAX_FLOWS) this.#dropOldest();
    this.#timer ??= setTimeout(() => this.#sweep(), FLOW_IDLE_MS);
    return flow;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#flows.clear();
  }

  #dropOldest(): void {
    for (const key of this.#flows.keys()) {
      this.#flows.delete(key);
      return;
    }
  }

  #sweep(): void {
    const now = performance.now();
    for (const [key, { lastActive }] of this.#flows) {
      if (now - lastActive < FLOW_IDLE_MS) break;
      this.#flows.delete(key);
    }
    this.#timer = this.#flows.size > 0 ? setTimeout(() => this.#sweep(), FLOW_IDLE_MS) : undefined;
  }
}
