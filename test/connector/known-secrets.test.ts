import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { defaultTunnelConfig } from "../../src/config/defaults.ts";
import { Secret } from "../../src/config/secret.ts";
import type { TunnelConfig } from "../../src/config/tunnel-config.ts";
import { secretsOf } from "../../src/connector/known-secrets.ts";

it("knows the tunnel's secret, the service token's and the proxy's password", () => {
  const tunnelSecret = randomBytes(24);
  const clientSecret = randomBytes(12).toString("hex");
  const password = randomBytes(8).toString("hex");
  const config: TunnelConfig = {
    ...defaultTunnelConfig,
    ingress: { rules: [], warpRouting: { connectTimeoutMs: 0, tcpKeepAliveMs: 0, maxActiveFlows: 0 } },
    identity: {
      mode: "named",
      hostname: undefined,
      credentials: { accountTag: "a", tunnelId: "t", endpoint: undefined, tunnelSecret: new Secret(tunnelSecret) },
    },
    healthCheck: {
      ...defaultTunnelConfig.healthCheck,
      serviceToken: { clientId: "id", clientSecret: new Secret(clientSecret) },
    },
    edgeProxy: { kind: "http", host: "proxy", port: 1, credentials: new Secret({ user: "user", password }) },
  };
  const text = `a ${tunnelSecret.toString("base64")} b ${clientSecret} c ${password} d`;
  expect(secretsOf(config)(text)).toBe("a [redacted] b [redacted] c [redacted] d");
});
