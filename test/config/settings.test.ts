import { describe, expect, it } from "vitest";
import { readEnvironment } from "../../src/config/environment.ts";
import { nearest } from "../../src/proxy/ingress/nearest.ts";
import { findSetting, isProblem, readSettingText, settingNames } from "../../src/config/settings.ts";
import { settingsTable } from "../../src/config/settings-table.ts";

/** Every flag of cloudflared 2026.8.2's `tunnel` and `tunnel run`, hidden ones included, with its variables. */
const CLOUDFLARED: Readonly<Record<string, readonly string[]>> = {
  "access-key-id": [],
  "api-ca-key": [],
  "api-email": [],
  "api-key": [],
  "api-url": ["TUNNEL_API_URL"],
  "autoupdate-freq": [],
  bastion: ["TUNNEL_BASTION"],
  "bucket-name": [],
  cacert: ["TUNNEL_CACERT"],
  "compression-quality": [],
  config: [],
  "cred-file": ["TUNNEL_CRED_FILE"],
  "credentials-contents": ["TUNNEL_CRED_CONTENTS"],
  "credentials-file": ["TUNNEL_CRED_FILE"],
  "dial-edge-timeout": [],
  "dns-resolver-addrs": ["TUNNEL_DNS_RESOLVER_ADDRS"],
  edge: ["TUNNEL_EDGE"],
  "edge-bind-address": ["TUNNEL_EDGE_BIND_ADDRESS"],
  "edge-ip-version": ["TUNNEL_EDGE_IP_VERSION"],
  F: [],
  f: ["TUNNEL_FORCE_PROVISIONING_DNS"],
  features: [],
  "grace-period": ["TUNNEL_GRACE_PERIOD"],
  "ha-connections": [],
  "heartbeat-count": [],
  "heartbeat-interval": [],
  "hello-world": ["TUNNEL_HELLO_WORLD"],
  "host-key-path": [],
  hostname: ["TUNNEL_HOSTNAME"],
  "http-host-header": ["TUNNEL_HTTP_HOST_HEADER"],
  "http2-origin": ["TUNNEL_ORIGIN_ENABLE_HTTP2"],
  "icmpv4-src": ["TUNNEL_ICMPV4_SRC"],
  "icmpv6-src": ["TUNNEL_ICMPV6_SRC"],
  id: ["TUNNEL_ID"],
  "is-autoupdated": [],
  label: [],
  "lb-pool": ["TUNNEL_LB_POOL"],
  "local-ssh-port": [],
  "log-directory": ["TUNNEL_LOGDIRECTORY"],
  logfile: ["TUNNEL_LOGFILE"],
  loglevel: ["TUNNEL_LOGLEVEL"],
  "management-diagnostics": ["TUNNEL_MANAGEMENT_DIAGNOSTICS"],
  "management-hostname": ["TUNNEL_MANAGEMENT_HOSTNAME"],
  "max-active-flows": ["TUNNEL_MAX_ACTIVE_FLOWS"],
  "max-edge-addr-retries": [],
  "max-fetch-size": ["TUNNEL_MAX_FETCH_SIZE"],
  metrics: ["TUNNEL_METRICS"],
  "metrics-update-freq": [],
  n: ["TUNNEL_NAME"],
  name: ["TUNNEL_NAME"],
  "no-autoupdate": ["NO_AUTOUPDATE"],
  "no-chunked-encoding": ["TUNNEL_NO_CHUNKED_ENCODING"],
  "no-prechecks": ["TUNNEL_NO_PRECHECKS"],
  "no-tls-verify": ["NO_TLS_VERIFY"],
  "origin-ca-pool": ["TUNNEL_ORIGIN_CA_POOL"],
  "origin-server-name": ["TUNNEL_ORIGIN_SERVER_NAME"],
  origincert: ["TUNNEL_ORIGIN_CERT"],
  output: ["TUNNEL_MANAGEMENT_OUTPUT", "TUNNEL_LOG_OUTPUT"],
  "overwrite-dns": ["TUNNEL_FORCE_PROVISIONING_DNS"],
  p: ["TUNNEL_TRANSPORT_PROTOCOL"],
  pidfile: ["TUNNEL_PIDFILE"],
  "post-quantum": ["TUNNEL_POST_QUANTUM"],
  pq: ["TUNNEL_POST_QUANTUM"],
  "proto-loglevel": ["TUNNEL_PROTO_LOGLEVEL", "TUNNEL_TRANSPORT_LOGLEVEL"],
  protocol: ["TUNNEL_TRANSPORT_PROTOCOL"],
  "proxy-address": [],
  "proxy-connect-timeout": [],
  "proxy-connection-timeout": [],
  "proxy-dns": [],
  "proxy-dns-address": [],
  "proxy-dns-bootstrap": [],
  "proxy-dns-max-upstream-conns": [],
  "proxy-dns-port": [],
  "proxy-dns-upstream": [],
  "proxy-expect-continue-timeout": [],
  "proxy-keepalive-connections": [],
  "proxy-keepalive-timeout": [],
  "proxy-no-happy-eyeballs": [],
  "proxy-port": [],
  "proxy-tcp-keepalive": [],
  "proxy-tls-timeout": [],
  "quic-connection-level-flow-control-limit": ["TUNNEL_QUIC_CONN_LEVEL_FLOW_CONTROL_LIMIT"],
  "quic-disable-pmtu-discovery": ["TUNNEL_DISABLE_QUIC_PMTU"],
  "quic-stream-level-flow-control-limit": ["TUNNEL_QUIC_STREAM_LEVEL_FLOW_CONTROL_LIMIT"],
  "quick-service": [],
  region: ["TUNNEL_REGION"],
  "region-name": [],
  retries: ["TUNNEL_RETRIES"],
  "rpc-timeout": [],
  "s3-url-host": [],
  "secret-id": [],
  "service-op-ip": ["TUNNEL_SERVICE_OP_IP"],
  "session-token": [],
  socks5: ["TUNNEL_SOCKS"],
  "ssh-idle-timeout": [],
  "ssh-max-timeout": [],
  "ssh-server": [],
  "stdin-control": ["STDIN_CONTROL"],
  tag: ["TUNNEL_TAG"],
  token: ["TUNNEL_TOKEN"],
  "token-file": ["TUNNEL_TOKEN_FILE"],
  "trace-output": ["TUNNEL_TRACE_OUTPUT"],
  "transport-loglevel": ["TUNNEL_PROTO_LOGLEVEL", "TUNNEL_TRANSPORT_LOGLEVEL"],
  ui: [],
  "unix-socket": ["TUNNEL_UNIX_SOCKET"],
  url: ["TUNNEL_URL"],
  "use-reconnect-token": [],
  "write-stream-timeout": ["TUNNEL_STREAM_WRITE_TIMEOUT"],
};

describe("settingsTable", () => {
  it("knows every flag of cloudflared, with its variables", () => {
    for (const [name, env] of Object.entries(CLOUDFLARED)) {
      const spec = findSetting(name);
      expect(spec, name).toBeDefined();
      for (const variable of env) expect(spec?.env, name).toContain(variable);
    }
  });

  it("adds no flags but its own, and no name stands for two", () => {
    const names = settingsTable.flatMap((spec) => [spec.name, ...spec.aliases]);
    expect(new Set(names).size).toBe(names.length);
    expect([...settingNames()].filter((name) => !(name in CLOUDFLARED)).sort()).toEqual([
      "edge-proxy",
      "error-page",
      "exit-on-failure",
      "health-check-interval",
      "health-check-origins",
      "health-check-path",
      "logfile-level",
      "logfile-output",
      "max-failures",
      "request-log",
      "service-token-file",
      "service-token-id",
      "service-token-secret",
      "state-directory",
    ]);
  });
});

describe("readSettingText", () => {
  const read = (name: string, text: string) => {
    const spec = findSetting(name);
    if (spec === undefined) throw new Error(name);
    const value = readSettingText(spec, text, `--${name}`);
    return isProblem(value) ? `${value.where}: ${value.text}` : value;
  };

  it("reads each type as cloudflared does", () => {
    for (const yes of ["1", "t", "T", "TRUE", "true", "True"]) expect(read("no-tls-verify", yes)).toBe(true);
    for (const no of ["0", "f", "F", "FALSE", "false", "False"]) expect(read("no-tls-verify", no)).toBe(false);
    expect(read("proxy-keepalive-connections", "-1")).toBe(-1);
    expect(read("grace-period", "1m30s")).toBe(90_000);
    expect(read("edge", "a:1,b:2")).toEqual(["a:1", "b:2"]);
    expect(read("url", "a,b")).toBe("a,b");
  });

  it.each([
    ["no-tls-verify", "yes", '--no-tls-verify: found "yes"; true or false would be right'],
    ["retries", "five", '--retries: found "five"; a whole number from 0 would be right'],
    ["retries", "-1", '--retries: found "-1"; a whole number from 0 would be right'],
    ["ha-connections", "0", '--ha-connections: found "0"; a whole number from 1 to 64 would be right'],
    [
      "grace-period",
      "3m1s",
      '--grace-period: found "3m1s"; a duration such as "30s" or "1m30s" from 0s to 3m0s would be right',
    ],
    [
      "grace-period",
      "30",
      '--grace-period: found "30"; a duration such as "30s" or "1m30s" from 0s to 3m0s would be right',
    ],
    ["rpc-timeout", "0s", '--rpc-timeout: found "0s"; a duration such as "30s" or "1m30s" from 1ms would be right'],
  ])("refuses --%s %s", (name, text, message) => {
    expect(read(name, text)).toBe(message);
  });
});

describe("readEnvironment", () => {
  it("takes the first variable of several, and empty ones as unset", () => {
    const { layer } = readEnvironment({
      TUNNEL_TOKEN: "",
      CLOUDFLARE_TUNNEL_TOKEN: "b",
      TUNNEL_LOG_OUTPUT: "json",
      TUNNEL_URL: "",
    });
    expect(layer.get("token")).toMatchObject({ value: "b", where: "CLOUDFLARE_TUNNEL_TOKEN", source: "environment" });
    expect(layer.get("output")?.value).toBe("json");
    expect(layer.has("url")).toBe(false);
  });

  it("reports wrong values by the variable's name", () => {
    const { problems } = readEnvironment({ TUNNEL_RETRIES: "x", TUNNEL_POST_QUANTUM: "maybe" });
    expect(problems.map(({ where }) => where)).toEqual(["TUNNEL_POST_QUANTUM", "TUNNEL_RETRIES"]);
  });
});

describe("nearest", () => {
  it("finds slips of the keys and nothing far-fetched", () => {
    const names = ["token", "token-file", "protocol", "retries", "metrics", "url"];
    expect(nearest("tokne", names)).toBe("token");
    expect(nearest("token_file", names)).toBe("token-file");
    expect(nearest("Retrys", names)).toBe("retries");
    expect(nearest("ulr", names)).toBe("url");
    expect(nearest("something-else", names)).toBeUndefined();
    expect(nearest("x", names)).toBeUndefined();
  });
});
