/** `originRequest`: how an origin is reached (ingress § 4), with the keys that go beyond cloudflared's. */
import { X509Certificate } from "node:crypto";
import type { OriginRequestOptions } from "../../types.ts";
import { readAccess } from "./access.ts";
import { readHeaderEdits } from "./header-edits.ts";
import { readIpRules } from "./ip-rules.ts";
import type { Scope } from "./problems.ts";
import { readBoolean, readDuration, readFields, readInteger, readText } from "./values.ts";

/** What one `originRequest` says; what it leaves out is not there. */
export interface OriginRequest {
  readonly options: Partial<OriginRequestOptions>;
  readonly bastionMode: boolean;
}

export type ReadFile = (path: string) => string;

/** Throws when a file can't be read. */
export function readOriginRequest(value: unknown, scope: Scope, readFile: ReadFile): OriginRequest {
  const options: { -readonly [K in keyof OriginRequestOptions]?: OriginRequestOptions[K] } = {};
  let bastionMode = false;
  const set = <K extends keyof OriginRequestOptions>(key: K, given: OriginRequestOptions[K]): void => {
    options[key] = given;
  };
  const duration =
    (key: DurationOption, sign: "negative" | "not negative" = "not negative") =>
    (field: unknown, at: Scope): void => {
      const milliseconds = readDuration(field, at, sign);
      if (milliseconds !== undefined) options[key] = milliseconds;
    };
  const boolean =
    (key: BooleanOption) =>
    (field: unknown, at: Scope): void => {
      const given = readBoolean(field, at);
      if (given !== undefined) options[key] = given;
    };
  readFields(
    value,
    scope,
    {
      connectTimeout: duration("connectTimeoutMs"),
      tlsTimeout: duration("tlsTimeoutMs"),
      tcpKeepAlive: duration("tcpKeepAliveMs", "negative"),
      noHappyEyeballs: boolean("noHappyEyeballs"),
      keepAliveConnections(field, at) {
        const count = readInteger(field, at, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
        if (count !== undefined) set("keepAliveConnections", count);
      },
      keepAliveTimeout: duration("keepAliveTimeoutMs"),
      httpHostHeader: (field, at) => set("httpHostHeader", readName(field, at, "a host, with its port if need be")),
      originServerName: (field, at) => set("originServerName", readName(field, at, "a host name in ASCII")),
      caPool: (field, at) => set("caPool", readCaPool(field, at, readFile)),
      noTLSVerify: boolean("noTLSVerify"),
      matchSNItoHost: boolean("matchSNItoHost"),
      disableChunkedEncoding: boolean("disableChunkedEncoding"),
      http2Origin: boolean("http2Origin"),
      bastionMode: (field, at) => (bastionMode = readBoolean(field, at) ?? false),
      proxyAddress(field, at) {
        const address = readText(field, at);
        if (address !== undefined && address !== "" && address !== "127.0.0.1") at.warning(NO_EFFECT);
      },
      proxyPort(field, at) {
        const port = readInteger(field, at, 0, 65_535);
        if (port !== undefined && port !== 0) at.warning(NO_EFFECT);
      },
      proxyType: (field, at) => set("proxyType", readChoice(field, at, ["", "socks"], '"socks" or ""') ?? ""),
      ipRules: (field, at) => set("ipRules", readIpRules(field, at) ?? []),
      access: (field, at) => set("access", readAccess(field, at)),
      responseHeaderTimeout: duration("responseHeaderTimeoutMs"),
      idleTimeout: duration("idleTimeoutMs"),
      stripPrefix: (field, at) => set("stripPrefix", readPrefix(field, at)),
      addPrefix: (field, at) => set("addPrefix", readPrefix(field, at)),
      requestHeaders: (field, at) => set("requestHeaders", readHeaderEdits(field, at)),
      responseHeaders: (field, at) => set("responseHeaders", readHeaderEdits(field, at)),
      proxyProtocol(field, at) {
        const version = readChoice(field, at, ["", "v1", "v2"], '"v1" or "v2"');
        set("proxyProtocol", version === "" ? undefined : version);
      },
    },
    ["access"],
  );
  return { options, bastionMode };
}

type OptionsOf<T> = {
  [K in keyof OriginRequestOptions]: OriginRequestOptions[K] extends T ? K : never;
}[keyof OriginRequestOptions];
type DurationOption = Extract<OptionsOf<number>, `${string}Ms`>;
type BooleanOption = OptionsOf<boolean>;

const NO_EFFECT = "has no effect, here as in cloudflared";

/** An empty text takes back what the top level says. */
function readName(value: unknown, scope: Scope, expected: string): string | undefined {
  const name = readText(value, scope);
  if (name === undefined || name === "") return undefined;
  if (/^[\x21-\x7e]+$/.test(name) && !/[/?#@\\,]/.test(name)) return name;
  scope.wrong(name, expected);
  return undefined;
}

function readChoice<T extends string>(
  value: unknown,
  scope: Scope,
  choices: readonly T[],
  expected: string,
): T | undefined {
  const choice = choices.find((known) => known === value);
  if (choice === undefined) scope.wrong(value, expected);
  return choice;
}

/** Without the slash at its end: prefixes are whole segments. */
function readPrefix(value: unknown, scope: Scope): string | undefined {
  const prefix = readText(value, scope);
  if (prefix === undefined || prefix === "") return undefined;
  if (!/^\/[\x21-\x7e]*$/.test(prefix) || /[?#]/.test(prefix)) {
    scope.wrong(prefix, 'a path such as "/api", percent-encoded where need be,');
    return undefined;
  }
  return prefix.replace(/\/+$/, "") || undefined;
}

function readCaPool(value: unknown, scope: Scope, readFile: ReadFile): string | undefined {
  const path = readText(value, scope);
  if (path === undefined || path === "") return undefined;
  let text: string;
  try {
    text = readFile(path);
  } catch (error) {
    scope.problem(error instanceof Error ? error.message : String(error));
    return undefined;
  }
  const certificates = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  if (certificates.length === 0) scope.wrong(path, "a PEM file with at least one certificate");
  certificates.forEach((certificate, index) => {
    if (!isCertificate(certificate))
      scope.problem(`certificate ${index + 1} of ${path} can't be read; PEM text would be right`);
  });
  // Without what else stands there, such as a key.
  return certificates.join("\n");
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}
