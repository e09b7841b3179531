/** Rule files, and requests to them, that a real cloudflared and Underpass are both asked about. */
import type { Json } from "./rows/row.ts";

/** `valid` and nothing else where a file is refused. */
export type IngressAnswer = {
  readonly valid: boolean;
  readonly unknownKeys?: boolean;
  /** Index of the rule that the URL belongs to. */
  readonly rule?: number;
} & Json;

export interface IngressRow {
  /** Unique; says what it is about. */
  readonly title: string;
  /** YAML. */
  readonly file: string;
  readonly url?: string;
  /** Where Underpass means to answer otherwise, and why. */
  readonly meant?: { readonly reason: string; readonly answer: IngressAnswer };
}

const refused: IngressAnswer = { valid: false };
const accepted: IngressAnswer = { valid: true, unknownKeys: false };

const SILENT = "What could never work is an error when the file is read, not a failure of each request.";
const STRICT = "A value that could only be a mistake is refused.";
const SECONDS = "A number of seconds is as clear in a file as it is in the API, where cloudflared wants it.";
const HOSTS = "Hosts are compared without regard to case, port and the dot at the end.";
const IDNA = "Wildcards and underscores don't keep a hostname from being converted to punycode.";
const GUARD = "A misspelt key that was meant to keep requests out is an error: ignored, it would let them in.";

/** A file of these rules, in YAML's flow form, and of one more for everything. */
function rules(...list: readonly string[]): string {
  return ["ingress:", ...list.map((rule) => `  - ${rule}`), "  - service: http_status:404", ""].join("\n");
}

function validity(
  kind: string,
  rows: readonly (readonly [string, string?, IngressAnswer?])[],
  file: (text: string) => string,
): IngressRow[] {
  return rows.map(([text, reason, answer]) => ({
    title: `${kind} ${text}`,
    file: file(text),
    ...(reason === undefined ? {} : { meant: { reason, answer: answer ?? refused } }),
  }));
}

const services = validity(
  "service",
  [
    ["http://localhost:8080"],
    ["HTTPS://localhost"],
    ["ws://localhost:1"],
    ["wss://localhost"],
    ["http://[::1]:8080"],
    ["http://localhost:"],
    ["http://localhost?a=b"],
    ["http://user:pass@localhost"],
    ["unix:/run/app.sock"],
    ["unix+tls:/run/app.sock"],
    ["unix:", SILENT],
    ["tcp://localhost"],
    ["ssh://localhost"],
    ["rdp://localhost:1"],
    ["smb://localhost"],
    [
      "redis://localhost:6379",
      "Only schemes that are known are taken: this one would be TCP over WebSocket, which nobody expects.",
    ],
    ["h2c://localhost:50051"],
    ["http_status:404"],
    ["http_status:999"],
    ["http_status:100", "A 1xx status is not the end of a request; 101 would open a WebSocket."],
    ["http_status:99"],
    ["http_status:abc"],
    ["hello_world"],
    ["hello-world"],
    ["bastion"],
    ["socks-proxy"],
    ["localhost:8080"],
    ["localhost"],
    ["//localhost"],
    ["''"],
    ["http://localhost/"],
    ["http://localhost/path"],
    ["http://localhost:99999", SILENT],
    ["http://localhost:0", SILENT],
    ["http://300.1.1.1", SILENT],
    ["[http://a, http://b]", "A list of services is tried in its order.", accepted],
  ],
  (service) => rules(`{hostname: a.com, service: ${/^['[]/.test(service) ? service : `"${service}"`}}`),
);

const hostnames = validity(
  "hostname",
  [
    ["a.com"],
    ["*.a.com"],
    ["_acme.a_b.com"],
    ["mañana.com"],
    ["10.0.0.1"],
    ["a.com:80"],
    ["a.*.com"],
    ["*.*.com"],
    ["*a.com", SILENT],
    ["https://a.com"],
    ["a.com/x", SILENT],
    ["a b.com", SILENT],
  ],
  (hostname) => rules(`{hostname: "${hostname}", service: http://localhost}`),
);

const paths = validity(
  "path",
  [
    ["^/api"],
    ["*.html"],
    ["*"],
    ["a**"],
    ["a++"],
    ["(?=x)"],
    ["(?!x)"],
    ["(?<=x)"],
    ["(a)\\1"],
    ["\\cX"],
    ["\\u0041"],
    ["[^]"],
    ["[]"],
    ["(?i)x"],
    ["(?s:.)"],
    ["(?U)x+"],
    ["(?P<n>x)"],
    ["(?<n>x)"],
    ["\\Ax\\z"],
    ["x\\Z"],
    ["\\Qa.b\\E"],
    ["\\x{10FFFF}"],
    ["\\a"],
    ["\\e"],
    ["\\h"],
    ["\\C"],
    ["\\pL"],
    ["\\p{Greek}"],
    ["\\p{Nope}"],
    ["[[:alpha:]]"],
    ["[[:nope:]]"],
    ["[]a]"],
    ["[^]]"],
    ["\\123"],
    ["\\8"],
    ["(?>a)"],
    ["(?#c)"],
    ["x{1000}"],
    ["x{1001}"],
    ["x{2,1}"],
    ["(x{100}){100}"],
    ["["],
    ["("],
    [")"],
    ["\\"],
    ["[b-a]"],
    ["a|*"],
    ["x{,5}"],
  ],
  (path) => rules(`{hostname: a.com, path: '${path}', service: http://localhost}`),
);

const options = validity(
  "originRequest",
  [
    ["{connectTimeout: 5s, tlsTimeout: 1m30s, keepAliveTimeout: 1.5h}"],
    ["{connectTimeout: 0s}"],
    ["{connectTimeout: 5}", SECONDS, accepted],
    ["{connectTimeout: '5'}"],
    ["{connectTimeout: 5 s}"],
    ["{connectTimeout: -5s}", STRICT],
    ["{tcpKeepAlive: -1s}"],
    ["{connectTimeout: 9999999999h}"],
    ["{keepAliveConnections: 0}"],
    ["{keepAliveConnections: '10'}"],
    ["{noTLSVerify: true, http2Origin: false}"],
    ["{noTLSVerify: 'yes please'}"],
    ["{noTlsVerify: true}"],
    ["{proxyAddress: 127.0.0.1, proxyPort: 0}"],
    ["{proxyType: socks}"],
    ["{proxyType: http}", STRICT],
    [
      "{caPool: /nonexistent.pem}",
      "A file that can't be read is found when the rules are checked, not when they start.",
    ],
    ["{access: {required: true, teamName: t, audTag: [x]}}"],
    ["{access: {required: true}}"],
    ["{access: {required: true, audTag: [x]}}"],
    ["{access: {required: true, teamName: t.cloudflareaccess.com, audTag: [x]}}", STRICT],
    ["{access: {require: true}}", GUARD],
    ["{acces: {required: true}}", GUARD],
    ["{requestHeaders: {set: {X-A: b}}}", "An option of Underpass.", accepted],
  ],
  (originRequest) => rules(`{hostname: a.com, service: "http://localhost", originRequest: ${originRequest}}`),
);

const ipRules = validity(
  "ipRules",
  [
    ["[{prefix: 10.0.0.0/8, ports: [80, 443], allow: true}, {prefix: '::/0'}]"],
    ["[{ports: [80]}]"],
    ["[{prefix: 10.0.0.1}]"],
    ["[{prefix: 10.0.0.0/33}]"],
    ["[{prefix: 10.0.0.0/8, ports: [0]}]"],
    ["[{prefix: 10.0.0.0/8, ports: [65536]}]"],
  ],
  (list) => rules(`{hostname: a.com, service: socks-proxy, originRequest: {ipRules: ${list}}}`),
);

const files: IngressRow[] = [
  {
    title: "no rules",
    file: "ingress: []\n",
    meant: {
      reason:
        "Whether a file without rules is an error is for its reader to say; the rules themselves are one that answers 503.",
      answer: accepted,
    },
  },
  { title: "a single rule", file: "ingress:\n  - service: http://localhost\n" },
  { title: "a last rule with a hostname", file: "ingress:\n  - {hostname: a.com, service: http://localhost}\n" },
  { title: "a last rule with a path", file: "ingress:\n  - {path: /x, service: http://localhost}\n" },
  { title: "a last rule for *", file: "ingress:\n  - {hostname: '*', service: http://localhost}\n" },
  { title: "a rule for everything before the end", file: rules("{service: http://localhost}") },
  { title: "a rule for * before the end", file: rules("{hostname: '*', service: http://localhost}") },
  {
    title: "a rule for * with a path before the end",
    file: rules("{hostname: '*', path: /x, service: http://localhost}"),
  },
  { title: "a rule without a service", file: rules("{hostname: a.com}") },
  { title: "an unknown key of a rule", file: rules("{hostname: a.com, service: http://localhost, comment: x}") },
  {
    title: "a hostname's key with a slip",
    file: rules("{hostnam: a.com, path: /x, service: http://localhost}"),
    meant: { reason: GUARD, answer: refused },
  },
  {
    title: "bastionMode on a rule without a usable service",
    file: rules("{hostname: a.com, service: nonsense, originRequest: {bastionMode: true}}"),
  },
  {
    title: "bastionMode for all rules",
    file: `originRequest: {bastionMode: true}\n${rules("{hostname: a.com, service: nonsense}")}`,
    meant: {
      reason: "bastionMode at the top level opens no rule to every destination; a rule says it itself.",
      answer: refused,
    },
  },
  {
    title: "warp-routing",
    file: `warp-routing: {connectTimeout: 5s, tcpKeepAlive: 30s, maxActiveFlows: 10}\n${rules()}`,
  },
  {
    title: "warp-routing.enabled",
    file: `warp-routing: {enabled: true}\n${rules()}`,
    meant: { reason: "The obsolete key is known, and warned of as obsolete.", answer: accepted },
  },
  { title: "warp-routing with a negative limit", file: `warp-routing: {maxActiveFlows: -1}\n${rules()}` },
];

const routed = rules(
  "{hostname: app.example.com, path: ^/api, service: http://localhost:1}",
  "{hostname: '*.example.com', path: '\\.(jpg|png)$', service: http://localhost:2}",
  "{hostname: app.example.com, service: http://localhost:3}",
  "{hostname: '*.example.com', service: http://localhost:4}",
  "{hostname: '*', path: /a b/ñ, service: http://localhost:5}",
  "{hostname: mañana.com, service: http://localhost:6}",
  "{hostname: '*.mañana.com', service: http://localhost:7}",
  "{hostname: UPPER.org, service: http://localhost:8}",
  "{hostname: _x.faß.de, service: http://localhost:9}",
  "{hostname: 10.0.0.1, service: http://localhost:10}",
  "{path: '^/(?i)CASE\\z', service: http://localhost:11}",
);

const matches: IngressRow[] = (
  [
    ["https://app.example.com/api/x"],
    ["https://app.example.com/API/x"],
    ["https://app.example.com/x/api"],
    ["https://app.example.com:8443/api?x=y"],
    ["https://app.example.com/?x=/api"],
    ["https://app.example.com/x.png"],
    ["https://app.example.com/x.png?y"],
    ["https://app.example.com/x%2Epng"],
    ["https://a.b.example.com/"],
    ["https://a.b.example.com/x.jpg"],
    ["https://example.com/"],
    ["https://evilexample.com/"],
    ["https://x.org/a%20b/%C3%B1"],
    ["https://x.org//a%20b/%C3%B1/../z"],
    ["https://x.org/a+b/%C3%B1"],
    ["https://xn--maana-pta.com/"],
    ["https://mañana.com/"],
    ["https://x.xn--maana-pta.com/", 6, IDNA],
    ["https://UPPER.org/"],
    ["https://upper.org/"],
    ["https://Upper.org/", 7, HOSTS],
    ["https://APP.example.com/", 2, HOSTS],
    ["https://app.example.com./", 2, HOSTS],
    ["https://_x.xn--fa-hia.de/", 8, IDNA],
    ["https://10.0.0.1:80/"],
    ["https://x.org/case"],
    ["https://x.org/case/"],
    ["https://x.org/"],
    ["https://x.org"],
  ] as readonly (readonly [string, number?, string?])[]
).map(([url, rule, reason]) => ({
  title: `rule of ${url}`,
  file: routed,
  url,
  ...(rule === undefined || reason === undefined
    ? {}
    : { meant: { reason, answer: { valid: true, unknownKeys: false, rule } } }),
}));

export const ingressRows: readonly IngressRow[] = [
  ...services,
  ...hostnames,
  ...paths,
  ...options,
  ...ipRules,
  ...files,
  ...matches,
];
