/** Finding the edge (wire §§ 2.1, 2.2): the SRV record, the way out by DNS over TLS, and the addresses of both regions. */
import { isIP } from "node:net";
import { parseHostPort } from "../../../config/edge-settings.ts";
import { builtInTargets, REGIONS, serviceName } from "../../../edge/discovery.ts";
import type { SrvRecord } from "../../../edge/resolvers.ts";
import type { EdgeAddress } from "../../../types.ts";
import { checkRow, messageOf, within } from "./row.ts";
import type { CheckPeers, CheckPlan, CheckResult, HostAddress, Outcome } from "./types.ts";

const LOOKUP_MS = 5_000;

const ADVICE =
  "check the resolver of this machine: it must answer SRV and A queries for argotunnel.com (a filter or a captive portal may not)";
const ADVICE_ON_ENTRY = "correct the entry of edge, or let this machine's resolver know its name";
const ONLY_FALLBACK = "a tunnel finds the edge by DNS over TLS; mend the resolver of this machine all the same";

/** Where connections of one region go. */
export interface Target {
  /** `region1`; or `edge1` for an entry of `edge`. */
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

export interface FoundTarget extends Target {
  readonly addresses: readonly EdgeAddress[];
}

export interface Discovery {
  readonly rows: readonly CheckResult[];
  readonly targets: readonly FoundTarget[];
}

export async function checkDns(plan: CheckPlan, peers: CheckPeers): Promise<Discovery> {
  if (plan.edge.length > 0) return lookUpAll(staticTargets(plan.edge), peers, ADVICE_ON_ENTRY);
  const found = await checkService(plan.region, peers);
  const hosts = await lookUpAll(found.targets, peers, ADVICE);
  return { rows: [...found.rows, ...hosts.rows], targets: hosts.targets };
}

function staticTargets(edge: readonly string[]): readonly Target[] {
  // One entry a connection: most have the same address several times.
  return [...new Set(edge)].flatMap((entry, index) => {
    const address = parseHostPort(entry);
    return address === undefined ? [] : [{ name: `edge${index + 1}`, ...address }];
  });
}

async function checkService(
  region: string | undefined,
  peers: CheckPeers,
): Promise<{ rows: CheckResult[]; targets: readonly Target[] }> {
  const name = serviceName(region);
  const answers: Record<"system" | "overTls", readonly SrvRecord[]> = { system: [], overTls: [] };
  const look =
    (way: "system" | "overTls") =>
    async (signal: AbortSignal): Promise<Outcome> => {
      const records = await (way === "system" ? peers.srv(name, signal) : peers.srvOverTls(name, signal));
      answers[way] = [...records].sort((a, b) => a.priority - b.priority);
      if (records.length >= REGIONS) return { status: "ok", details: `names ${records.length} regions of the edge` };
      const about = region === undefined ? ADVICE : `is "${region}" a region of the edge? Leave --region out to see`;
      // One region is enough to go on.
      const status = records.length === 0 ? "failed" : "warning";
      return { status, details: `names ${records.length} of the edge's ${REGIONS} regions`, action: about };
    };
  const [system, overTls] = await Promise.all([
    checkRow({ id: "dns.srv", component: "DNS", target: `SRV ${name}` }, LOOKUP_MS, look("system")),
    checkRow(
      { id: "dns.over-tls", component: "DNS", target: "1.1.1.1:853 (DNS over TLS)" },
      LOOKUP_MS,
      look("overTls"),
    ),
  ]);
  const records = answers.system.length > 0 ? answers.system : answers.overTls;
  const targets = (records.length === 0 ? builtInTargets(region) : records.slice(0, REGIONS)).map(
    ({ port, target }, index) => ({ name: `region${index + 1}`, host: target, port }),
  );
  return { rows: judgeService(system, overTls), targets };
}

/** One of the two ways is enough, and the second is not needed where the first works. */
function judgeService(system: CheckResult, overTls: CheckResult): CheckResult[] {
  if (system.status === "ok") {
    if (overTls.status === "ok") return [system, overTls];
    const details = `not needed, the system's resolver works (${overTls.details})`;
    return [system, { ...overTls, status: "skipped", details, action: undefined }];
  }
  const action = system.action ?? ADVICE;
  if (overTls.status !== "ok") return [{ ...system, action }, overTls];
  return [{ ...system, status: "warning", action: ONLY_FALLBACK }, overTls];
}

async function lookUpAll(targets: readonly Target[], peers: CheckPeers, advice: string): Promise<Discovery> {
  const found = await Promise.all(targets.map((target) => lookUp(target, peers, advice)));
  return {
    rows: found.flatMap(({ row }) => (row === undefined ? [] : [row])),
    targets: found.map(({ target }) => target),
  };
}

async function lookUp(
  target: Target,
  peers: CheckPeers,
  advice: string,
): Promise<{ row: CheckResult | undefined; target: FoundTarget }> {
  const { host, name, port } = target;
  let addresses: readonly EdgeAddress[] = [];
  const keep = (found: readonly HostAddress[]): void => {
    addresses = found.map(({ family, ip }) => ({ ip, family, port }));
  };
  const family = isIP(host);
  if (family === 4 || family === 6) {
    keep([{ ip: host, family }]);
    return { row: undefined, target: { ...target, addresses } };
  }
  const row = await checkRow({ id: `dns.${name}`, component: "DNS", target: host }, 2 * LOOKUP_MS, async (signal) => {
    try {
      keep(await within(LOOKUP_MS, signal, (limited) => peers.addresses(host, limited)));
    } catch (error) {
      signal.throwIfAborted();
      // The tunnel does the same.
      keep(await peers.addressesOverTls(host, signal).catch(() => []));
      if (addresses.length === 0) throw error;
      return { status: "warning", details: `${messageOf(error)}; DNS over TLS has it`, action: ONLY_FALLBACK };
    }
    const count = (version: 4 | 6): number => addresses.filter((address) => address.family === version).length;
    if (addresses.length === 0) return { status: "failed", details: "has no address", action: advice };
    return { status: "ok", details: `${count(4)} IPv4, ${count(6)} IPv6 addresses` };
  });
  return {
    row: row.status === "failed" ? { ...row, action: row.action ?? advice } : row,
    target: { ...target, addresses },
  };
}
