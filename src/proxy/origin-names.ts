/** matchSNItoHost: one address under many TLS names, each with its own session, certificate check and pooled connections. */
import type { HttpRequest, WebSocketRequest } from "../types.ts";
import type { OriginTarget } from "./origin-target.ts";

/** Names remembered at a time: visitors invent hostnames below a wildcard. What is forgotten costs a full handshake. */
const MAX_NAMES = 256;

/** Lower case, without port, brackets and final dot. */
function nameOf(host: string): string {
  const parts = /^(?:\[([\da-f:.]+)\]|([^:]*?)\.?)(?::\d*)?$/i.exec(host);
  return (parts?.[1] ?? parts?.[2] ?? "").toLowerCase();
}

/** Which target a request goes to; always the same object for the same name, as long as it is remembered. */
export class OriginNames {
  readonly #target: OriginTarget;
  readonly #hostHeader: string | undefined;
  readonly #isNamed: boolean;
  readonly #byName = new Map<string, OriginTarget>();

  /** @param hostHeader what the origin gets as Host in the visitor's place, if anything */
  constructor(target: OriginTarget, hostHeader: string | undefined, matchSNItoHost: boolean) {
    this.#target = target;
    this.#hostHeader = hostHeader === "" ? undefined : hostHeader;
    this.#isNamed = matchSNItoHost && target.tls !== undefined;
  }

  targetOf({ authority }: HttpRequest | WebSocketRequest): OriginTarget {
    return this.#isNamed ? this.#named(nameOf(this.#hostHeader ?? authority)) : this.#target;
  }

  #named(name: string): OriginTarget {
    const { tls } = this.#target;
    if (name === "" || tls === undefined) return this.#target;
    const known = this.#byName.get(name);
    // To the end: the first is then the one that was not asked for longest.
    if (known !== undefined) this.#byName.delete(name);
    const target = known ?? { ...this.#target, tls: tls.named(name) };
    this.#byName.set(name, target);
    for (const oldest of this.#byName.keys()) {
      if (this.#byName.size <= MAX_NAMES) break;
      this.#byName.delete(oldest);
    }
    return target;
  }
}
