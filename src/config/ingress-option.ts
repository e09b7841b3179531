/** Where requests go, as programs say it: `origin`, or `ingress` with the rules of a configuration file. */
import { formatDuration } from "../proxy/ingress/duration.ts";
import { type IngressContext, type IngressProblem, parseIngress } from "../proxy/ingress/parse.ts";
import type { HeaderEdits, Ingress, Origin, OriginRequestOptions, Service } from "../types.ts";
import { readRegularFile } from "./files.ts";
import { formatKeyPath, type KeyPath } from "./key-path.ts";
import { type OriginInput, parseOrigin } from "./origin.ts";
import { ConfigError, type ConfigProblem, formatProblem } from "./problem.ts";
import { serviceOf } from "./service.ts";

/** Seconds, or a text such as `"300ms"`, `"1m30s"`. */
export type DurationInput = number | string;

export interface AccessInput {
  readonly required?: boolean;
  readonly teamName?: string;
  readonly audTag?: readonly string[];
  readonly environment?: "" | "fed";
}

export interface IpRuleInput {
  readonly prefix: string;
  readonly ports?: readonly number[];
  readonly allow?: boolean;
}

export interface HeaderEditsInput {
  readonly set?: Readonly<Record<string, string>>;
  readonly remove?: readonly string[];
}

/** How an origin is reached, by the keys of a configuration file; docs/config.md has their defaults. */
export interface OriginRequestInput {
  readonly connectTimeout?: DurationInput;
  readonly tlsTimeout?: DurationInput;
  readonly tcpKeepAlive?: DurationInput;
  readonly noHappyEyeballs?: boolean;
  readonly keepAliveConnections?: number;
  readonly keepAliveTimeout?: DurationInput;
  readonly httpHostHeader?: string;
  readonly originServerName?: string;
  /** PEM text, or the path of a PEM file. */
  readonly caPool?: string;
  readonly noTLSVerify?: boolean;
  readonly matchSNItoHost?: boolean;
  readonly disableChunkedEncoding?: boolean;
  readonly http2Origin?: boolean;
  readonly bastionMode?: boolean;
  readonly proxyType?: "" | "socks";
  readonly ipRules?: readonly IpRuleInput[];
  readonly access?: AccessInput;
  readonly responseHeaderTimeout?: DurationInput;
  readonly idleTimeout?: DurationInput;
  readonly stripPrefix?: string;
  readonly addPrefix?: string;
  readonly requestHeaders?: HeaderEditsInput;
  readonly responseHeaders?: HeaderEditsInput;
  readonly proxyProtocol?: "" | "v1" | "v2";
}

export interface IngressRuleInput {
  /** `app.example.com`, `*.example.com`; none = any host. */
  readonly hostname?: string;
  /** A regular expression in RE2 syntax, searched for in the decoded path; none = any path. */
  readonly path?: string;
  /** As in a configuration file, `handler:<name>`, several for failover, or what `origin` takes. */
  readonly service: OriginInput | readonly string[];
  readonly originRequest?: OriginRequestInput;
}

/** TCP streams of the private network. */
export interface WarpRoutingInput {
  /** Default 5 seconds. */
  readonly connectTimeout?: DurationInput;
  /** Default 30 seconds. */
  readonly tcpKeepAlive?: DurationInput;
  /** Default 0 = no limit. */
  readonly maxActiveFlows?: number;
}

/** The library's options that decide where requests go. */
export interface RoutingOptions {
  /**
   * One service for everything: a URL, `host:port`, `{ unix: path }`, an `http.Server`, `{ listener, upgrade? }`,
   * `{ fetch, upgrade? }`, or a bare function, of which one with two parameters or more is a `(req, res)` listener and
   * any other a fetch handler.
   */
  readonly origin?: OriginInput;
  /**
   * In place of `origin`: rules, of which the first that matches a request counts, and the last matches everything; or `"remote"`:
   * those that Cloudflare has for the tunnel, and 503 until they come. Rules from Cloudflare count before all others.
   */
  readonly ingress?: readonly IngressRuleInput[] | "remote";
  /** Named origins for `service: "handler:<name>"`. */
  readonly handlers?: Readonly<Record<string, OriginInput>>;
  /** For every rule; times either by the file's keys or, in milliseconds, as `connectTimeoutMs`. */
  readonly originRequest?: OriginRequestInput | Partial<OriginRequestOptions>;
  readonly warpRouting?: WarpRoutingInput;
}

type Handlers = Readonly<Record<string, Origin>>;

export interface Routing {
  readonly ingress: Ingress;
  /** By name, for rules that come later. */
  readonly handlers: Handlers;
  readonly warnings: readonly string[];
}

/** Throws a ConfigError that says all that is wrong; unknown keys are. */
export function parseRouting(options: RoutingOptions): Routing {
  const { origin, ingress, originRequest, warpRouting } = options;
  if (origin !== undefined && ingress !== undefined) {
    refuse("ingress", "given beside origin; one of them would be right: ingress for several services, origin for one");
  }
  if (origin === undefined && ingress === undefined)
    refuse("origin", "found nothing; origin or ingress would be right");
  if (Array.isArray(ingress) && ingress.length === 0) refuse("ingress", "found no rules; at least one would be right");
  const reader = new OptionReader();
  const handlers = reader.handlers(options.handlers);
  const single = origin === undefined ? undefined : parseOrigin(origin, "origin", reader.warn);
  const parsed = parseIngress(
    {
      ingress: ingress === "remote" ? undefined : reader.rules(ingress),
      originRequest: reader.originRequest(originRequest, ["originRequest"]),
      "warp-routing": warpRouting,
    },
    reader.context(handlers),
  );
  const located = (found: IngressProblem): ConfigProblem => ({ where: reader.where(found.path), text: found.text });
  const unknown = parsed.warnings.filter(({ unknownKey }) => unknownKey);
  const problems = [...parsed.problems, ...unknown].map(located);
  if (parsed.ingress === undefined || problems.length > 0) throw new ConfigError(problems);
  const { rules, warpRouting: limits } = parsed.ingress;
  return {
    // Without `ingress` there is one rule, which says 503.
    ingress:
      single === undefined
        ? parsed.ingress
        : { rules: rules.map((rule) => ({ ...rule, service: single })), warpRouting: limits },
    handlers,
    warnings: [...reader.warnings, ...parsed.warnings.map((warning) => formatProblem(located(warning)))],
  };
}

/** Brings options into the form of a file, and remembers how to say where a value stands. */
class OptionReader {
  readonly warnings: string[] = [];
  readonly warn = (warning: string): void => {
    this.warnings.push(warning);
  };
  /** Services that rules hold themselves, by the names that stand for them. */
  readonly #inline: Record<string, Origin> = {};
  readonly #pems = new Map<string, string>();
  /** As the program wrote it, by how a file would. */
  readonly #names = new Map<string, string>();

  context(handlers: Handlers): IngressContext {
    return {
      handlers: { ...handlers, ...this.#inline },
      readFile: (path) => this.#pems.get(path) ?? readRegularFile(path, ""),
    };
  }

  where([first, ...rest]: KeyPath): string {
    const path = formatKeyPath([first === "warp-routing" ? "warpRouting" : (first ?? ""), ...rest]);
    return this.#names.get(path) ?? path;
  }

  handlers(given: RoutingOptions["handlers"]): Handlers {
    const entries = Object.entries(given ?? {}).map(([name, input]) => {
      const where = `handlers.${name}`;
      return [name, asOrigin(parseOrigin(input, where, this.warn), where)] as const;
    });
    return Object.fromEntries(entries);
  }

  rules(given: unknown): unknown {
    if (!Array.isArray(given)) return given;
    return given.map((rule: unknown, index) => {
      if (!isObject(rule)) return rule;
      const { service, originRequest } = rule;
      return {
        ...rule,
        ...(service === undefined ? {} : { service: this.#service(service, index) }),
        originRequest: this.originRequest(originRequest, ["ingress", index, "originRequest"]),
      };
    });
  }

  #service(service: unknown, index: number): unknown {
    if (typeof service === "string" || Array.isArray(service)) return service;
    const where = `ingress[${index}].service`;
    const found = parseOrigin(service as OriginInput, where, this.warn);
    if (found.kind === "tcp" || found.kind === "url") return serviceOf(found);
    const name = `of rule ${index + 1}`;
    this.#inline[name] = asOrigin(found, where);
    return `handler:${name}`;
  }

  originRequest(given: unknown, path: KeyPath): unknown {
    if (!isObject(given)) return given;
    return Object.fromEntries(Object.entries(given).map(([key, value]) => this.#option(key, value, path)));
  }

  #option(key: string, value: unknown, path: KeyPath): readonly [string, unknown] {
    if (key.endsWith("Ms") && typeof value === "number") {
      const name = key.slice(0, -2);
      this.#names.set(formatKeyPath([...path, name]), formatKeyPath([...path, key]));
      return [name, formatDuration(value)];
    }
    if (key === "caPool" && typeof value === "string" && value.includes("-----BEGIN")) {
      const name = `PEM text ${this.#pems.size + 1}`;
      this.#pems.set(name, value);
      return [key, name];
    }
    if ((key === "requestHeaders" || key === "responseHeaders") && isObject(value) && Array.isArray(value["set"])) {
      const set: readonly HeaderEdits["set"][number][] = value["set"];
      return [key, { ...value, set: Object.fromEntries(set.map(({ name, value: text }) => [name, text])) }];
    }
    return [key, value];
  }
}

function asOrigin(service: Service, where: string): Origin {
  switch (service.kind) {
    case "url":
    case "unix":
    case "server":
    case "listener":
    case "fetch":
    case "status":
      return service;
    default:
      return refuse(where, `found ${serviceOf(service) ?? service.kind}; a rule with this service would be right`);
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function refuse(where: string, text: string): never {
  throw new ConfigError([{ where, text }]);
}
