import { EventEmitter } from "node:events";
import type { Logger } from "../types.ts";
import type { TunnelEvents } from "./api.ts";

type Listener<E extends keyof TunnelEvents> = (...args: TunnelEvents[E]) => void;

/** Typed events. A listener that throws, or an asynchronous one that rejects, is logged: it is no reason for a tunnel to end, nor for others not to hear. */
export class TunnelEmitter {
  readonly #emitter = new EventEmitter();
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  on<E extends keyof TunnelEvents>(event: E, listener: Listener<E>): void {
    this.#emitter.on(event, listener);
  }

  once<E extends keyof TunnelEvents>(event: E, listener: Listener<E>): void {
    this.#emitter.once(event, listener);
  }

  off<E extends keyof TunnelEvents>(event: E, listener: Listener<E>): void {
    this.#emitter.off(event, listener);
  }

  has(event: keyof TunnelEvents): boolean {
    return this.#emitter.listenerCount(event) > 0;
  }

  emit<E extends keyof TunnelEvents>(event: E, ...args: TunnelEvents[E]): void {
    // Raw listeners, so that those added by `once` take themselves off.
    for (const listener of this.#emitter.rawListeners(event)) {
      try {
        const returned: unknown = Reflect.apply(listener, undefined, args);
        if (returned instanceof Promise) returned.catch((error: unknown) => this.#threw(event, error));
      } catch (error) {
        this.#threw(event, error);
      }
    }
  }

  #threw(event: string, error: unknown): void {
    this.#logger.error(`A listener of the event "${event}" threw`, { error });
  }
}
