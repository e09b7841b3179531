import type { RequestOutcome } from "../types.ts";

/**
 * Remembers when a request for a host and path last came through the tunnel, so that a 5xx that the probe gets can be
 * told from one of the edge: what was carried was answered behind the tunnel.
 */
export class ProbeWitness {
  #watched: { readonly host: string; readonly path: string } | undefined;
  #seenAt = Number.NEGATIVE_INFINITY;

  /** Called for every request: only two comparisons. */
  note({ host, path, kind }: RequestOutcome): void {
    const watched = this.#watched;
    if (watched === undefined || kind !== "http" || path !== watched.path) return;
    if (host.toLowerCase() === watched.host) this.#seenAt = performance.now();
  }

  watch(url: URL): void {
    this.#watched = { host: url.host, path: `${url.pathname}${url.search}` };
  }

  /** True when such a request has ended since. */
  sawSince(since: number): boolean {
    return this.#seenAt >= since;
  }
}
