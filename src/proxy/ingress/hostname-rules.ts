/** What a rule's hostname may be, and where in the list (ingress § 3.1). */
import { isIPv6 } from "node:net";
import { describeValue } from "./redact.ts";
import { hostPattern } from "./hosts.ts";
import type { Scope } from "./problems.ts";

/** Says what is wrong with a hostname; whatever could never match a request is. */
export function checkHostname(hostname: string, scope: Scope): void {
  if (hostname === "" || hostname === "*" || isIPv6(hostname.replace(/^\[(.*)\]$/, "$1"))) return;
  const wildcard = hostname.lastIndexOf("*");
  const bare = /^(?:[a-z][a-z\d+.-]*:\/\/)?([^/?#]*).*$/is.exec(hostname)?.[1] ?? "";
  if (bare !== hostname) {
    scope.wrong(hostname, bare === "" ? "a host name alone" : `the host name alone, ${describeValue(bare)},`);
  } else if (hostname.includes(":")) {
    scope.problem(
      `found a port in ${describeValue(hostname)}; ${describeValue(hostname.replace(/:[^:]*$/, ""))} would be right`,
    );
  } else if (wildcard > 0 || (wildcard === 0 && !/^\*\.[^.]/.test(hostname))) {
    scope.wrong(hostname, 'one "*." at the front, as in "*.example.com",');
  } else if (!isHostname(hostname)) {
    scope.wrong(hostname, "a host name such as app.example.com");
  }
}

function isHostname(hostname: string): boolean {
  const pattern = hostPattern(hostname);
  return pattern.kind !== "any" && pattern.host.length <= 253 && /^[\w-]{1,63}(?:\.[\w-]{1,63})*$/.test(pattern.host);
}

export interface Matcher {
  readonly hostname: string;
  readonly path: string | undefined;
}

/** Says what is wrong with the rules' order. `undefined` stands for a rule that can't be read. */
export class RuleOrder {
  readonly #count: number;
  /** Rules without a path, by what their hostnames stand for. */
  readonly #open = new Map<string, number>();

  constructor(count: number) {
    this.#count = count;
  }

  /** Rules are given from the first to the last. */
  check({ hostname, path }: Matcher, index: number, scope: Scope): void {
    const pattern = hostPattern(hostname);
    const catchAll = pattern.kind === "any" && path === undefined;
    const isLast = index === this.#count - 1;
    if (isLast && !catchAll) {
      scope.problem(
        "the last rule must match every request; one more rule without hostname and path would be right, such as service: http_status:404",
      );
    }
    if (!isLast && catchAll) {
      scope.problem(
        "matches every request, and hides the rules after it; a hostname or a path would be right, or the last place",
      );
    }
    if (pattern.kind === "any") return;
    const hiding = this.#hiding(pattern.kind, pattern.host);
    if (hiding !== undefined) scope.warning(`is never reached: rule ${hiding + 1} takes all requests to this hostname`);
    const key = `${pattern.kind} ${pattern.host}`;
    if (path === undefined && !this.#open.has(key)) this.#open.set(key, index);
  }

  /** The first rule without a path whose hostname takes in this one. */
  #hiding(kind: "exact" | "below", host: string): number | undefined {
    const wider = host.split(".").map((_, index, labels) => `below ${labels.slice(index + 1).join(".")}`);
    const found = [`${kind} ${host}`, ...wider].flatMap((key) => this.#open.get(key) ?? []);
    return found.length === 0 ? undefined : Math.min(...found);
  }
}
