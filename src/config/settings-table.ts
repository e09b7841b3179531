/** Every setting there is: cloudflared's flags with their variables and defaults (operations § 2), and ours. */
import type { SettingSpec, SettingStatus, SettingType, SettingValue } from "./settings.ts";

type Details = Partial<Pick<SettingSpec, "aliases" | "env" | "fallback" | "help" | "secret" | "native" | "range">>;

const ANY_COUNT: readonly [number, number] = [0, Number.POSITIVE_INFINITY];
/** The longest that a Node timer can wait is about 24 days. */
const ANY_TIME: readonly [number, number] = [0, 2_147_000_000];

function setting(name: string, type: SettingType, status: SettingStatus, details: Details): SettingSpec {
  return {
    name,
    type,
    status,
    aliases: [],
    env: [],
    fallback: undefined,
    help: "",
    secret: false,
    native: false,
    range: undefined,
    ...details,
  };
}

function supported(name: string, type: SettingType, help: string, details: Details = {}): SettingSpec {
  return setting(name, type, { kind: "supported" }, { help, ...details });
}

const OFF: Readonly<Record<SettingType, SettingValue>> = { string: "", bool: false, int: 0, duration: 0, list: [] };

function notYet(name: string, type: SettingType, feature: string, details: Details & { off?: SettingValue } = {}) {
  const { off = OFF[type], ...rest } = details;
  return setting(name, type, { kind: "not-yet", feature, off }, rest);
}

function unused(name: string, type: SettingType, details: Details = {}): SettingSpec {
  return setting(name, type, { kind: "unused" }, details);
}

function dead(type: SettingType, ...names: readonly string[]): readonly SettingSpec[] {
  return names.map((name) => setting(name, type, { kind: "dead" }, {}));
}

export const settingsTable: readonly SettingSpec[] = [
  // Which tunnel.
  supported("token", "string", "tunnel token; visible in process lists, so prefer --token-file or the variable", {
    env: ["TUNNEL_TOKEN", "CLOUDFLARE_TUNNEL_TOKEN"],
    secret: true,
  }),
  supported("token-file", "string", "file that holds the tunnel token", { env: ["TUNNEL_TOKEN_FILE"] }),
  supported("credentials-file", "string", "credentials file of a tunnel, with the tunnel's UUID as argument", {
    aliases: ["cred-file"],
    env: ["TUNNEL_CRED_FILE"],
  }),
  supported("credentials-contents", "string", "content of a credentials file", {
    env: ["TUNNEL_CRED_CONTENTS"],
    secret: true,
  }),
  supported("origincert", "string", "cert.pem; credentials files are looked for beside it", {
    env: ["TUNNEL_ORIGIN_CERT"],
  }),
  supported("quick-service", "string", "service that hands out quick tunnels", {
    fallback: "https://api.trycloudflare.com",
  }),
  supported("config", "string", "configuration file: underpass.toml, or cloudflared's config.yml"),
  supported("hostname", "string", "public hostname of a named tunnel; it is probed for health", {
    env: ["TUNNEL_HOSTNAME"],
  }),

  // Where requests go.
  supported("url", "string", "local service that requests go to", {
    env: ["TUNNEL_URL"],
  }),
  supported("unix-socket", "string", "unix socket to use instead of --url", { env: ["TUNNEL_UNIX_SOCKET"] }),
  supported("proxy-connect-timeout", "duration", "time to connect to the origin, 0s = no limit", {
    fallback: "30s",
    range: ANY_TIME,
  }),
  supported("proxy-tls-timeout", "duration", "time for the origin's TLS handshake, 0s = no limit", {
    fallback: "10s",
    range: ANY_TIME,
  }),
  supported("proxy-tcp-keepalive", "duration", "TCP keep-alive period to the origin, negative = off", {
    fallback: "30s",
  }),
  supported("proxy-no-happy-eyeballs", "bool", "do not race IPv4 and IPv6 to the origin", { fallback: "false" }),
  supported("proxy-keepalive-connections", "int", "idle connections kept to the origin, negative = none", {
    fallback: "100",
  }),
  supported("proxy-keepalive-timeout", "duration", "life of an idle connection to the origin", {
    fallback: "1m30s",
    range: ANY_TIME,
  }),
  supported("http-host-header", "string", "Host that the origin sees", { env: ["TUNNEL_HTTP_HOST_HEADER"] }),
  supported("origin-server-name", "string", "name on the origin's certificate", {
    env: ["TUNNEL_ORIGIN_SERVER_NAME"],
  }),
  supported("origin-ca-pool", "string", "PEM file of authorities for the origin, beside the system's", {
    env: ["TUNNEL_ORIGIN_CA_POOL"],
  }),
  supported("no-tls-verify", "bool", "do not verify the origin's certificate", {
    env: ["NO_TLS_VERIFY"],
    fallback: "false",
  }),
  supported("hello-world", "bool", "serve the built-in demonstration", {
    env: ["TUNNEL_HELLO_WORLD"],
    fallback: "false",
  }),
  supported("bastion", "bool", "connect to the address that the client asks for: a jump host", {
    env: ["TUNNEL_BASTION"],
    fallback: "false",
  }),
  supported("socks5", "bool", "speak SOCKS5 with the client of a tcp service", {
    env: ["TUNNEL_SOCKS"],
    fallback: "false",
  }),
  supported("no-chunked-encoding", "bool", "give the origin a length with every request", {
    env: ["TUNNEL_NO_CHUNKED_ENCODING"],
    fallback: "false",
  }),
  supported("http2-origin", "bool", "HTTP/2 to an https origin that has it", {
    env: ["TUNNEL_ORIGIN_ENABLE_HTTP2"],
    fallback: "false",
  }),

  // The connections to the edge.
  supported("protocol", "string", "auto (whichever gets through, QUIC first), quic or http2", {
    aliases: ["p"],
    env: ["TUNNEL_TRANSPORT_PROTOCOL"],
    fallback: "auto",
  }),
  supported(
    "post-quantum",
    "bool",
    "offer only post-quantum key exchange to the edge; over HTTP/2 it needs Node.js 24",
    {
      aliases: ["pq"],
      env: ["TUNNEL_POST_QUANTUM"],
      fallback: "false",
    },
  ),
  supported("edge", "list", "host:port of the edge instead of discovery, repeatable", { env: ["TUNNEL_EDGE"] }),
  supported("cacert", "string", "PEM file of the only authorities that the edge is verified against", {
    env: ["TUNNEL_CACERT"],
  }),
  supported("edge-proxy", "string", "proxy to the edge, over HTTP/2: http://[user:password@]host:port or socks5://…", {
    env: ["TUNNEL_EDGE_PROXY"],
    secret: true,
    native: true,
  }),
  supported("region", "string", "region of the edge, e.g. us", { env: ["TUNNEL_REGION"] }),
  supported("edge-ip-version", "string", "auto, 4 or 6", { env: ["TUNNEL_EDGE_IP_VERSION"], fallback: "auto" }),
  supported("edge-bind-address", "string", "local IP address for connections to the edge", {
    env: ["TUNNEL_EDGE_BIND_ADDRESS"],
  }),
  supported("ha-connections", "int", "connections to the edge; quick tunnels have one", {
    fallback: "4",
    range: [1, 64],
  }),
  supported("retries", "int", "failed attempts in a row before a connection waits longer", {
    env: ["TUNNEL_RETRIES"],
    fallback: "5",
    range: ANY_COUNT,
  }),
  supported("grace-period", "duration", "time that requests in progress get at shutdown, at most 3m", {
    env: ["TUNNEL_GRACE_PERIOD"],
    fallback: "30s",
    range: [0, 180_000],
  }),
  supported("exit-on-failure", "bool", "end with status 1 after --retries failed attempts without a connection", {
    env: ["TUNNEL_EXIT_ON_FAILURE"],
    fallback: "false",
    native: true,
  }),
  supported("state-directory", "string", "directory that keeps the edge's last good addresses; systemd's by itself", {
    env: ["TUNNEL_STATE_DIRECTORY"],
    native: true,
  }),
  supported("rpc-timeout", "duration", "time for the registration call", { fallback: "5s", range: [1, 2_147_000_000] }),
  supported("tag", "list", "KEY=VALUE sent to the origin as Cf-Warp-Tag-KEY, repeatable", { env: ["TUNNEL_TAG"] }),
  supported("error-page", "string", "page for browsers where the tunnel itself answers 502, 503 or 504", {
    native: true,
  }),
  supported("features", "list", "extra features to announce to the edge, repeatable", { aliases: ["F"] }),
  notYet("write-stream-timeout", "duration", "the write timeout", { env: ["TUNNEL_STREAM_WRITE_TIMEOUT"] }),
  supported("stdin-control", "bool", "take commands on stdin: reconnect [delay], help", {
    env: ["STDIN_CONTROL"],
    fallback: "false",
  }),
  supported("max-active-flows", "int", "flows of the private network at a time, 0 = no limit", {
    env: ["TUNNEL_MAX_ACTIVE_FLOWS"],
    fallback: "0",
    range: ANY_COUNT,
  }),
  supported(
    "dns-resolver-addrs",
    "list",
    "ip:port of the private network's resolvers, at most 10; default this machine's",
    {
      env: ["TUNNEL_DNS_RESOLVER_ADDRS"],
    },
  ),
  unused("max-edge-addr-retries", "int"),
  supported("quic-disable-pmtu-discovery", "bool", "keep QUIC to datagrams that every path carries", {
    env: ["TUNNEL_DISABLE_QUIC_PMTU"],
    fallback: "false",
  }),
  unused("quic-connection-level-flow-control-limit", "int", { env: ["TUNNEL_QUIC_CONN_LEVEL_FLOW_CONTROL_LIMIT"] }),
  unused("quic-stream-level-flow-control-limit", "int", { env: ["TUNNEL_QUIC_STREAM_LEVEL_FLOW_CONTROL_LIMIT"] }),
  supported("icmpv4-src", "string", "IPv4 address that traceroutes through the private network see as this hop", {
    env: ["TUNNEL_ICMPV4_SRC"],
  }),
  supported("icmpv6-src", "string", "the same for IPv6", { env: ["TUNNEL_ICMPV6_SRC"] }),

  // Operation.
  supported("metrics", "string", "address of the metrics server, or off; default: the first free port from 20241 on", {
    env: ["TUNNEL_METRICS"],
  }),
  supported("pidfile", "string", "file for the process id, written after the first registration", {
    env: ["TUNNEL_PIDFILE"],
  }),
  supported("loglevel", "string", "debug, info, warn, error or fatal", { env: ["TUNNEL_LOGLEVEL"], fallback: "info" }),
  supported("request-log", "string", "lines of requests: off, errors, summary (each one) or headers (with theirs)", {
    env: ["TUNNEL_REQUEST_LOG"],
    fallback: "errors",
  }),
  supported("logfile", "string", "file that the log is appended to, as JSON", { env: ["TUNNEL_LOGFILE"] }),
  supported("logfile-level", "string", "level of the log file or directory; default that of loglevel", {
    env: ["TUNNEL_LOGFILE_LEVEL"],
  }),
  supported("logfile-output", "string", "default (text) or json, in the log file or directory", {
    env: ["TUNNEL_LOGFILE_OUTPUT"],
    fallback: "json",
  }),
  supported("log-directory", "string", "directory for cloudflared.log, rolled at 1 MB", {
    env: ["TUNNEL_LOGDIRECTORY"],
  }),
  supported("output", "string", "default (text) or json; underpass alone picks text on a terminal, json otherwise", {
    env: ["TUNNEL_MANAGEMENT_OUTPUT", "TUNNEL_LOG_OUTPUT"],
  }),
  supported("health-check-interval", "duration", "time between two health checks", {
    fallback: "30s",
    range: [1000, 86_400_000],
    native: true,
  }),
  supported("max-failures", "int", "failed health checks in a row that restart the tunnel", {
    fallback: "3",
    range: [1, 1_000_000],
    native: true,
  }),
  supported("health-check-path", "string", "path of the health check on the public hostname", {
    fallback: "/",
    native: true,
  }),
  supported("health-check-origins", "bool", "let the health check connect to the origins, too", {
    fallback: "false",
    native: true,
  }),
  supported(
    "service-token-id",
    "string",
    "id of a Cloudflare Access service token, which lets the health check through",
    {
      env: ["TUNNEL_SERVICE_TOKEN_ID", "CF_ACCESS_CLIENT_ID"],
      native: true,
    },
  ),
  supported(
    "service-token-secret",
    "string",
    "its secret; visible in process lists, so prefer the variable or the file",
    {
      env: ["TUNNEL_SERVICE_TOKEN_SECRET", "CF_ACCESS_CLIENT_SECRET"],
      secret: true,
      native: true,
    },
  ),
  supported("service-token-file", "string", "file with both: the two headers as lines, or JSON", {
    env: ["TUNNEL_SERVICE_TOKEN_FILE"],
    native: true,
  }),
  notYet("no-autoupdate", "bool", "self-update", { env: ["NO_AUTOUPDATE"], off: true }),
  notYet("autoupdate-freq", "duration", "self-update"),
  supported("no-prechecks", "bool", "do not look for the cause where no connection comes about", {
    env: ["TUNNEL_NO_PRECHECKS"],
    fallback: "false",
  }),
  supported("management-diagnostics", "bool", "let Cloudflare's dashboard read the metrics, by an access token", {
    env: ["TUNNEL_MANAGEMENT_DIAGNOSTICS"],
    fallback: "true",
  }),
  supported("management-hostname", "string", "host name of the remote log and host details, or off", {
    env: ["TUNNEL_MANAGEMENT_HOSTNAME"],
    fallback: "management.argotunnel.com",
  }),
  supported("label", "string", "name of this machine in Cloudflare's dashboard"),
  supported("service-op-ip", "string", "ip:port of Cloudflare's by which this machine's own address is found out", {
    env: ["TUNNEL_SERVICE_OP_IP"],
    fallback: "198.41.200.113:80",
  }),
  notYet("trace-output", "string", "the runtime trace", { env: ["TUNNEL_TRACE_OUTPUT"] }),
  notYet("name", "string", "creating a tunnel", { aliases: ["n"], env: ["TUNNEL_NAME"] }),
  unused("transport-loglevel", "string", {
    aliases: ["proto-loglevel"],
    env: ["TUNNEL_PROTO_LOGLEVEL", "TUNNEL_TRANSPORT_LOGLEVEL"],
  }),
  unused("overwrite-dns", "bool", { aliases: ["f"], env: ["TUNNEL_FORCE_PROVISIONING_DNS"] }),
  unused("lb-pool", "string", { env: ["TUNNEL_LB_POOL"] }),
  unused("id", "string", { env: ["TUNNEL_ID"] }),
  unused("api-url", "string", { env: ["TUNNEL_API_URL"] }),
  unused("max-fetch-size", "int", { env: ["TUNNEL_MAX_FETCH_SIZE"] }),
  unused("is-autoupdated", "bool"),

  // Accepted for the sake of old scripts; cloudflared does not read them either.
  ...dead("string", "api-email", "local-ssh-port", "bucket-name", "region-name", "s3-url-host", "host-key-path"),
  ...dead("string", "proxy-address", "proxy-dns-address"),
  ...dead("bool", "ui", "use-reconnect-token", "ssh-server", "proxy-dns"),
  ...dead("int", "heartbeat-count", "compression-quality", "proxy-port", "proxy-dns-port"),
  ...dead("int", "proxy-dns-max-upstream-conns"),
  ...dead("list", "proxy-dns-upstream", "proxy-dns-bootstrap"),
  ...dead("duration", "heartbeat-interval", "dial-edge-timeout", "ssh-idle-timeout", "ssh-max-timeout"),
  ...dead("duration", "metrics-update-freq", "proxy-connection-timeout", "proxy-expect-continue-timeout"),
  ...["api-key", "api-ca-key", "secret-id", "access-key-id", "session-token"].map((name) =>
    setting(name, "string", { kind: "dead" }, { secret: true }),
  ),
];
