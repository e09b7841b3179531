/**
 * Comes before the command in its own process (`--import`): names are asked of the test's server alone, nothing leaves this machine,
 * and on SIGUSR2 a line on stdout tells what the process holds.
 */
import { isIP } from "node:net";
import dns from "node:dns/promises";
import { syncBuiltinESMExports } from "node:module";
import tls from "node:tls";

const server = process.env.CHAOS_NAME_SERVER ?? "";
const { lookup, Resolver } = dns;

class TestResolver extends Resolver {
  constructor() {
    super({ timeout: 1_000, tries: 1 });
    this.setServers([server]);
  }
}

dns.Resolver = TestResolver;
dns.lookup = async (host, options) => {
  if (isIP(host) !== 0 || host === "localhost") return await lookup(host, options);
  const found = (await new TestResolver().resolve4(host)).map((address) => ({ address, family: 4 }));
  return options?.all === true ? found : found[0];
};

const { connect } = tls;
/** DNS over TLS: refused, as nobody listens there. */
tls.connect = (options, ...rest) =>
  options.port === 853 ? connect({ ...options, host: "127.0.0.1", port: 1 }, ...rest) : connect(options, ...rest);

syncBuiltinESMExports();

process.on("SIGUSR2", () => {
  globalThis.gc?.();
  setImmediate(() => {
    globalThis.gc?.();
    const { heapUsed, external, rss } = process.memoryUsage();
    process.stdout.write(`${JSON.stringify({ heapUsed, external, rss })}\n`);
  });
});

// A test that takes too long is given up by its runner, and can't end what it started.
const parent = process.ppid;
setInterval(() => {
  if (process.ppid !== parent) process.kill(process.pid, "SIGKILL");
}, 1_000).unref();
