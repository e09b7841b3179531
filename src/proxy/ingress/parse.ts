/**
 * Ingress rules as YAML, TOML and JSON parsers give them, from a file or from Cloudflare, checked and made ready to serve
 * (ingress §§ 1.2, 3, 4, 5). Synchronous: re2js is loaded by the first rule with a path.
 */
import { describeValue } from "./redact.ts";
import type { Ingress, IngressRule, OriginRequestOptions, Service, WarpRouting } from "../../types.ts";
import { defaultOriginRequest } from "./defaults.ts";
import { checkHostname, RuleOrder } from "./hostname-rules.ts";
import { type OriginRequest, type ReadFile, readOriginRequest } from "./origin-request.ts";
import { patternProblem } from "./paths.ts";
import { type Findings, type IngressProblem, Scope } from "./problems.ts";
import { meantSection } from "./sections.ts";
import { type Handlers, isUrlService, readService } from "./services.ts";
import { isTable, readFields, readList, readTable, readText } from "./values.ts";
import { readWarpRouting } from "./warp-routing.ts";

export type { IngressProblem } from "./problems.ts";

/** Other keys beside these are the caller's. */
export interface IngressSource {
  readonly ingress?: unknown;
  readonly originRequest?: unknown;
  readonly "warp-routing"?: unknown;
}

export interface IngressContext {
  /** What `handler:<name>` names. */
  readonly handlers?: Handlers;
  /** Reads `caPool`; throws an error that says what is wrong with the file. */
  readonly readFile: (path: string) => string;
}

export interface ParsedIngress {
  /** Undefined when there are problems. */
  readonly ingress: Ingress | undefined;
  readonly problems: readonly IngressProblem[];
  /** Unknown keys and what has no effect. */
  readonly warnings: readonly IngressProblem[];
}

/** Without rules everything gets 503, as in cloudflared (ingress § 2). */
const NO_RULES: Service = { kind: "status", status: 503, unconfigured: true };

/** Finds everything that is wrong, not only the first. Never throws. */
export function parseIngress(source: IngressSource, context: IngressContext): ParsedIngress {
  const findings: Findings = { problems: [], warnings: [] };
  const scope = new Scope(findings);
  const parser = new IngressParser(source, scope, context);
  const rules = parser.rules(source.ingress, scope.at("ingress"));
  for (const key of Object.keys(source)) checkKey(key, scope.at(key));
  const warpRouting: WarpRouting = readWarpRouting(source["warp-routing"], scope.at("warp-routing"));
  const { problems, warnings } = findings;
  return { ingress: problems.length > 0 ? undefined : { rules, warpRouting }, problems, warnings };
}

/** All other keys are the caller's. */
function checkKey(key: string, scope: Scope): void {
  const meant = meantSection(key);
  if (meant !== undefined) scope.problem(`found the unknown key ${describeValue(key)}; ${meant} would be right`);
}

class IngressParser {
  readonly #handlers: Handlers;
  readonly #readFile: ReadFile;
  /** Defaults with the top level's options over them. */
  readonly #options: OriginRequestOptions;

  constructor(source: IngressSource, scope: Scope, context: IngressContext) {
    this.#handlers = context.handlers ?? {};
    this.#readFile = context.readFile;
    const at = scope.at("originRequest");
    const top = readOriginRequest(source.originRequest, at, this.#readFile);
    // In cloudflared it turns every rule with a URL into a way to anywhere (ingress § 4).
    if (top.bastionMode) {
      at.at("bastionMode").warning(
        "has no effect here; it in the originRequest of a rule would be right, or service: bastion",
      );
    }
    this.#options = { ...defaultOriginRequest, ...top.options };
  }

  rules(value: unknown, scope: Scope): readonly IngressRule[] {
    const list = value === undefined || value === null ? [] : (readList(value, scope, "a list of rules") ?? []);
    if (list.length === 0) {
      return [{ hostname: "", path: undefined, service: NO_RULES, originRequest: this.#options }];
    }
    const order = new RuleOrder(list.length);
    const rules: IngressRule[] = [];
    list.forEach((item, index) => {
      const rule = this.#rule(item, index, scope.at(index), order);
      if (rule !== undefined) rules.push(rule);
    });
    return rules;
  }

  #rule(value: unknown, index: number, place: Scope, order: RuleOrder): IngressRule | undefined {
    const table = readTable(value, place.labelled(`rule ${index + 1}: `));
    if (table === undefined) return undefined;
    const scope = place.labelled(`rule ${index + 1}${hostLabel(table["hostname"])}: `);
    let own: OriginRequest = { options: {}, bastionMode: false };
    let hostname: string | undefined = "";
    let path: string | undefined;
    let service: unknown;
    readFields(
      table,
      scope,
      {
        service: (field) => (service = field),
        originRequest: (field, at) => (own = readOriginRequest(field, at, this.#readFile)),
        hostname: (field, at) => (hostname = readHostname(field, at)),
        path: (field, at) => (path = readPath(field, at)),
        // Cloudflare's own number of the rule, in configurations that come from there.
        id: () => undefined,
      },
      // Without these a rule would take in more than was meant, or lose its `access`.
      ["hostname", "path", "originRequest"],
    );
    if (hostname !== undefined) order.check({ hostname, path }, index, scope);
    this.#checkAccess(own, table["originRequest"], scope.at("originRequest").at("access"));
    const bastion = own.bastionMode && isUrlService(service);
    const found: Service | undefined = bastion
      ? { kind: "bastion" }
      : readService(service ?? "", scope.at("service"), this.#handlers);
    if (found === undefined) return undefined;
    warnOfNoEffect(own, found, scope.at("originRequest"));
    return { hostname: hostname ?? "", path, service: found, originRequest: { ...this.#options, ...own.options } };
  }

  /** A rule's `access` replaces the one above whole: who only names another audience would open the rule. */
  #checkAccess({ options }: OriginRequest, written: unknown, scope: Scope): void {
    if (this.#options.access?.required !== true || options.access === undefined) return;
    const access = isTable(written) ? written["access"] : undefined;
    if (isTable(access) && typeof access["required"] === "boolean") return;
    scope.problem(
      "found no required, where the originRequest above requires a token; required: true, or required: false, would be right",
    );
  }
}

function hostLabel(hostname: unknown): string {
  return typeof hostname === "string" && hostname !== ""
    ? ` (${describeValue(hostname).replace(/^"(.*)"$/, "$1")})`
    : "";
}

function readHostname(value: unknown, scope: Scope): string | undefined {
  const hostname = readText(value, scope);
  if (hostname !== undefined) checkHostname(hostname, scope);
  return hostname;
}

function readPath(value: unknown, scope: Scope): string | undefined {
  const path = readText(value, scope);
  if (path === undefined || path === "") return undefined;
  const reason = patternProblem(path);
  if (reason !== undefined) {
    scope.problem(
      `found ${describeValue(path)}: ${reason}; a regular expression in RE2 syntax would be right${globHint(path)}`,
    );
  }
  return path;
}

/** `*.html` is what shells would take. */
function globHint(path: string): string {
  const extension = /^\*\.(\w+)$/.exec(path)?.[1];
  if (extension !== undefined) return `, such as \\.${extension}$`;
  return path.startsWith("*") ? `, such as .${path}` : "";
}

/** Options that a rule sets itself and that its service does not know. */
function warnOfNoEffect({ options, bastionMode }: OriginRequest, { kind }: Service, scope: Scope): void {
  const warn = (key: string, applies: string): void =>
    scope.at(key).warning(`has no effect on this service; it is for ${applies}`);
  if (bastionMode && kind !== "bastion") warn("bastionMode", "URLs");
  if (options.httpHostHeader !== undefined && kind === "unix") warn("httpHostHeader", "http, https, ws and wss");
  if (options.proxyType === "socks" && kind !== "tcp") warn("proxyType", "tcp, ssh, rdp and smb");
  if (options.proxyProtocol !== undefined && kind !== "tcp") warn("proxyProtocol", "tcp, ssh, rdp and smb");
  if (options.ipRules !== undefined && kind !== "socks-proxy") warn("ipRules", "socks-proxy");
}
