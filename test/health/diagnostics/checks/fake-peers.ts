import type {
  CheckPeers,
  CheckPlan,
  CheckResult,
  HostAddress,
} from "../../../../src/health/diagnostics/checks/types.ts";

export const NOW = Date.UTC(2026, 10, 23, 12, 0, 0);

const ADDRESSES: Readonly<Record<string, readonly HostAddress[]>> = {
  "region1.v2.argotunnel.com": [
    { ip: "198.41.192.7", family: 4 },
    { ip: "198.41.192.47", family: 4 },
    { ip: "2606:4700:a0::1", family: 6 },
  ],
  "region2.v2.argotunnel.com": [
    { ip: "198.41.200.13", family: 4 },
    { ip: "2606:4700:a8::1", family: 6 },
  ],
};

/** A network where everything works, but for what a test says. */
export function peers(overrides: Partial<CheckPeers> = {}): CheckPeers {
  const srv = [1, 2].map((number) => ({
    priority: number,
    weight: 1,
    port: 7844,
    target: `region${number}.v2.argotunnel.com`,
  }));
  return {
    addresses: (host) => Promise.resolve(ADDRESSES[host] ?? []),
    srv: () => Promise.resolve(srv),
    srvOverTls: () => Promise.resolve(srv),
    addressesOverTls: (host) => Promise.resolve(ADDRESSES[host] ?? []),
    dialTcp: () => Promise.resolve("TLS verified"),
    dialByEnvironment: () => undefined,
    dialQuic: () => Promise.resolve("TLS verified"),
    ask: () => Promise.resolve({ status: 301, date: NOW, sentAt: NOW, receivedAt: NOW + 500 }),
    throughProxy: () => Promise.resolve(),
    origin: () => Promise.resolve({ status: "ok", details: "answers HEAD / with 200" }),
    ...overrides,
  };
}

export function plan(overrides: Partial<CheckPlan> = {}): CheckPlan {
  return {
    protocol: "auto",
    edge: [],
    region: undefined,
    edgeIpVersion: "auto",
    api: new URL("https://api.cloudflare.com/client/v4"),
    quickService: undefined,
    needsQuickService: false,
    origins: [],
    environment: {},
    ...overrides,
  };
}

/** `id: status`, in order. */
export function statuses(checks: readonly CheckResult[]): Readonly<Record<string, string>> {
  return Object.fromEntries(checks.map(({ id, status }) => [id, status]));
}

export function find(checks: readonly CheckResult[], id: string): CheckResult {
  const row = checks.find((check) => check.id === id);
  if (row === undefined) throw new Error(`no row ${id}; there are ${checks.map((check) => check.id).join(", ")}`);
  return row;
}

/** What never answers, and does not heed its signal. */
export const never = (): Promise<never> => new Promise(() => {});

export const failing = (message: string, code?: string) => (): Promise<never> =>
  Promise.reject(Object.assign(new Error(message), code === undefined ? {} : { code }));
