// Records anew what the cloudflared that CLOUDFLARED_BIN names answers to every conformance row (test/fixtures/oracle/http2.json, ingress.json).
import { spawnSync } from "node:child_process";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

if (!process.env.CLOUDFLARED_BIN) {
  console.error("CLOUDFLARED_BIN must name a cloudflared binary");
  process.exit(1);
}
const { status } = spawnSync(
  "npx",
  ["--no-install", "vitest", "run", "test/interop/cloudflared.test.ts", "test/interop/cloudflared-ingress.test.ts"],
  {
    cwd: dirname(dirname(fileURLToPath(import.meta.url))),
    stdio: "inherit",
    env: { ...process.env, UPDATE_ORACLE: "1" },
  },
);
process.exitCode = status ?? 1;
