/** Which rule a request belongs to: the first in the list that matches its host and path (ingress § 3.2). */
import type { IngressRule } from "../../types.ts";
import { type HostPattern, hostPattern, requestHost } from "./hosts.ts";
import { decodedPath, type PathPattern, PathSet } from "./paths.ts";

export interface Router {
  /**
   * The index of the first rule that matches.
   * @param host the request's authority, port included if there is one
   * @param path path and query as received
   */
  match(host: string, path: string): number;
}

/** `rules` ends with one that matches everything. Throws on a path that is no regular expression. */
export function createRouter(rules: readonly IngressRule[]): Router {
  const [first] = rules;
  const last = Math.max(0, rules.length - 1);
  if (last === 0 || (first !== undefined && hostPattern(first.hostname).kind === "any" && !first.path)) {
    return { match: () => 0 };
  }
  const index = new HostIndex(rules);
  return { match: (host, path) => lowestMatch(index.bucket(requestHost(host)), path, last) };
}

/** The rules of one hostname pattern, and of the wider patterns that take in its hosts. */
class Bucket {
  /** The bucket of the next wider pattern. */
  readonly wider: Bucket | undefined;
  readonly #paths: PathSet | undefined;
  /** Lowest index of a rule with a path. */
  readonly #firstPath: number;
  /** Index of the first rule without a path. */
  readonly #open: number;

  constructor(draft: Draft, sets: number, wider: Bucket | undefined) {
    this.wider = wider;
    this.#open = draft.open;
    this.#firstPath = draft.paths[0]?.index ?? Number.POSITIVE_INFINITY;
    this.#paths = draft.paths.length === 0 ? undefined : new PathSet(draft.paths, sets);
  }

  /** The lowest index of its own rules that match, or `lowest` when none below it does. */
  lower(lowest: number, path: () => string): number {
    const open = Math.min(lowest, this.#open);
    if (this.#paths === undefined || this.#firstPath > open) return open;
    return Math.min(open, this.#paths.first(path()) ?? open);
  }
}

function lowestMatch(narrowest: Bucket, target: string, last: number): number {
  let decoded: string | undefined;
  const path = (): string => (decoded ??= decodedPath(target));
  let lowest = last;
  for (let bucket: Bucket | undefined = narrowest; bucket !== undefined; bucket = bucket.wider) {
    lowest = bucket.lower(lowest, path);
  }
  return lowest;
}

interface Draft {
  readonly pattern: HostPattern;
  readonly paths: PathPattern[];
  open: number;
}

/** Finds the bucket of the narrowest pattern that takes in a host. */
class HostIndex {
  readonly #exact = new Map<string, Bucket>();
  /** By what stands after `*.`. */
  readonly #below = new Map<string, Bucket>();
  readonly #any: Bucket;
  /** Labels of the longest key of `#below`: a host with thousands of labels costs no more lookups than that. */
  #depth = 0;

  constructor(rules: readonly IngressRule[]) {
    const drafts = draftsOf(rules);
    const sets = drafts.filter(({ paths }) => paths.length > 0).length;
    const any = drafts.find(({ pattern }) => pattern.kind === "any");
    this.#any = new Bucket(any ?? { pattern: { kind: "any" }, paths: [], open: rules.length - 1 }, sets, undefined);
    // From the widest: each looks for the next wider one, which is there by then.
    for (const { host, draft } of byDepth(drafts, "below")) {
      this.#below.set(host, new Bucket(draft, sets, this.#covering(host)));
      this.#depth = labels(host);
    }
    for (const { host, draft } of byDepth(drafts, "exact")) {
      this.#exact.set(host, new Bucket(draft, sets, this.#covering(host)));
    }
  }

  bucket(host: string): Bucket {
    return this.#exact.get(host) ?? this.#covering(host);
  }

  /** The narrowest bucket of more than one host that takes in `host`. */
  #covering(host: string): Bucket {
    let found = this.#any;
    let dot = host.length;
    for (let depth = 0; depth < this.#depth; depth++) {
      dot = dot === 0 ? -1 : host.lastIndexOf(".", dot - 1);
      if (dot === -1) break;
      found = this.#below.get(host.slice(dot + 1)) ?? found;
    }
    return found;
  }
}

/** One for each hostname pattern; rules that an earlier one of the same pattern hides are left out. */
function draftsOf(rules: readonly IngressRule[]): readonly Draft[] {
  const drafts = new Map<string, Draft>();
  rules.forEach((rule, index) => {
    const pattern = hostPattern(rule.hostname);
    const key = pattern.kind === "any" ? "" : `${pattern.kind} ${pattern.host}`;
    const draft = drafts.get(key) ?? { pattern, paths: [], open: Number.POSITIVE_INFINITY };
    drafts.set(key, draft);
    if (draft.open < index) return;
    if (rule.path) draft.paths.push({ index, pattern: rule.path });
    else draft.open = index;
  });
  return [...drafts.values()];
}

function byDepth(drafts: readonly Draft[], kind: "exact" | "below"): readonly { host: string; draft: Draft }[] {
  return drafts
    .flatMap((draft) => (draft.pattern.kind === kind ? [{ host: draft.pattern.host, draft }] : []))
    .sort((a, b) => labels(a.host) - labels(b.host));
}

function labels(host: string): number {
  return host.split(".").length;
}
