/** Calls, counted and timed under cloudflared's names. */
import { expect, it } from "vitest";
import { Registry } from "../../src/health/metrics.ts";
import { RpcMetrics } from "../../src/health/rpc-metrics.ts";
import { parseExposition } from "./exposition.ts";

const labels = '{handler="registration",method="update_local_configuration"}';

it("counts what went well, what failed, and how long it took", async () => {
  const registry = new Registry();
  const rpc = new RpcMetrics(registry);
  await rpc.called("update_local_configuration", () => Promise.resolve("fine"));
  await expect(rpc.called("update_local_configuration", () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  await rpc.called(
    "register_connection",
    () => Promise.resolve(false),
    (registered) => registered,
  );
  expect(await rpc.served("update_configuration", () => 7)).toBe(7);
  await expect(
    rpc.served("register_udp_session", () => {
      throw new Error("refused");
    }),
  ).rejects.toThrow("refused");
  const families = parseExposition(registry.render());
  const at = (name: string, key: string) => families.get(name)?.samples.get(key);
  expect(at("cloudflared_rpc_client_operations", labels)).toBe(2);
  expect(at("cloudflared_rpc_client_failures", labels)).toBe(1);
  expect(at("cloudflared_rpc_client_latency_secs", `_count${labels}`)).toBe(2);
  expect(at("cloudflared_rpc_client_failures", '{handler="registration",method="register_connection"}')).toBe(1);
  expect(at("cloudflared_rpc_server_operations", '{handler="config",method="update_configuration"}')).toBe(1);
  expect(at("cloudflared_rpc_server_failures", '{handler="config",method="update_configuration"}')).toBeUndefined();
  expect(at("cloudflared_rpc_server_failures", '{handler="session",method="register_udp_session"}')).toBe(1);
  expect(at("cloudflared_config_local_config_pushes", "")).toBe(2);
  expect(at("cloudflared_config_local_config_pushes_errors", "")).toBe(1);
});
