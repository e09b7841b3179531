/** Reaching the edge (wire § 3): each region, each address family, both transports, with the names that a tunnel uses. */
import { DialError } from "../../../edge/errors.ts";
import type { EdgeAddress } from "../../../types.ts";
import type { FoundTarget } from "./dns-checks.ts";
import { checkRow, failedOutcome, knownRow, LateError, within } from "./row.ts";
import type { CheckPeers, CheckPlan, CheckResult, Outcome } from "./types.ts";

/** For one address; a handshake over the slowest satellite takes two seconds. */
export const DIAL_MS = 5_000;
/** What a dial that does not keep to its time gets beyond it. */
const SLACK_MS = 500;
/** A second address, where the first one fails, tells a broken address from a broken network. */
const ADDRESSES = 2;

const EDGE_PORT = 7844;

type Transport = "tcp" | "udp";

const NO_ROUTE: ReadonlySet<unknown> = new Set(["ENETUNREACH", "EHOSTUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT"]);

export async function checkEdge(
  plan: CheckPlan,
  targets: readonly FoundTarget[],
  peers: CheckPeers,
): Promise<readonly CheckResult[]> {
  const rows = (["udp", "tcp"] as const).flatMap((transport) =>
    targets.flatMap((target) => checkTarget(plan, target, transport, peers)),
  );
  return Promise.all(rows);
}

function checkTarget(
  plan: CheckPlan,
  target: FoundTarget,
  transport: Transport,
  peers: CheckPeers,
): readonly Promise<CheckResult>[] {
  const component = transport === "udp" ? "UDP" : "TCP";
  const unwanted = plan.protocol === (transport === "udp" ? "http2" : "quic");
  if (unwanted) return [];
  const wanted = plan.edge.length > 0 ? "auto" : plan.edgeIpVersion;
  const families = ([4, 6] as const).filter((family) => wanted === "auto" || Number(wanted) === family);
  const groups = families
    .map((family) => ({ family, addresses: target.addresses.filter((address) => address.family === family) }))
    .filter(({ addresses }) => addresses.length > 0);
  if (groups.length === 0) {
    const head = { id: `${transport}.${target.name}`, component, target: `${target.host}:${target.port}` } as const;
    const which = wanted === "auto" ? "address" : `IPv${wanted} address`;
    return [Promise.resolve(knownRow(head, { status: "skipped", details: `no ${which} is known` }))];
  }
  return groups.map(({ addresses, family }) => {
    const head = {
      id: `${transport}.${target.name}.ipv${family}`,
      component,
      target: `${target.name} IPv${family}, port ${target.port}`,
    } as const;
    const tried = addresses.slice(0, ADDRESSES);
    return checkRow(head, (DIAL_MS + SLACK_MS) * (tried.length + 1) + SLACK_MS, (signal) =>
      dialOne(tried, transport, peers, signal),
    );
  });
}

interface Attempt {
  readonly address: EdgeAddress;
  readonly dial: (signal: AbortSignal) => Promise<string>;
  /** What is to be said of it where another one has failed. */
  readonly beside: string;
  /** Of no use where somebody answered, with another certificate: so he would on the other way. */
  readonly isOtherWay: boolean;
}

/** The first of the addresses that answers, and after them, as a tunnel does, HTTPS_PROXY. */
function attemptsOf(addresses: readonly EdgeAddress[], transport: Transport, peers: CheckPeers): readonly Attempt[] {
  const beside = "another address does not answer";
  if (transport === "udp") {
    return addresses.map((address) => ({
      address,
      dial: (signal) => peers.dialQuic(address, signal),
      beside,
      isOtherWay: false,
    }));
  }
  const direct = addresses.map((address) => ({
    address,
    dial: (signal: AbortSignal) => peers.dialTcp(address, signal),
    beside,
    isOtherWay: false,
  }));
  const [address] = addresses;
  const dial = address && peers.dialByEnvironment(address);
  if (address === undefined || dial === undefined) return direct;
  const by = "through the proxy of HTTPS_PROXY, as there is no direct way";
  return [...direct, { address, dial, beside: by, isOtherWay: true }];
}

async function dialOne(
  addresses: readonly EdgeAddress[],
  transport: Transport,
  peers: CheckPeers,
  signal: AbortSignal,
): Promise<Outcome> {
  let failure: unknown;
  for (const { address, beside, dial, isOtherWay } of attemptsOf(addresses, transport, peers)) {
    if (isOtherWay && failure instanceof DialError && failure.phase === "tls") break;
    const started = performance.now();
    try {
      const agreed = await within(DIAL_MS + SLACK_MS, signal, dial);
      const details = `${address.ip} in ${Math.round(performance.now() - started)} ms, ${agreed}`;
      return { status: "ok", details: failure === undefined ? details : `${details}; ${beside}` };
    } catch (error) {
      signal.throwIfAborted();
      // Without the proxy is how it should be: that failure says more. Its own row says what the proxy does.
      if (!isOtherWay) failure = timeoutOf(error, address, transport);
    }
  }
  const [first] = addresses;
  if (first?.family === 6 && NO_ROUTE.has(systemCode(failure))) {
    return { status: "skipped", details: "this machine has no route for IPv6" };
  }
  return onPort(failedOutcome(failure), first?.port ?? EDGE_PORT);
}

/** The catalogue's remedies name the edge's usual port, and this very command. */
function onPort(outcome: Outcome, port: number): Outcome {
  const action = outcome.action?.replaceAll(String(EDGE_PORT), String(port)).replace(/; see underpass check$/, "");
  return { ...outcome, action };
}

/** The limit's own error says nothing of where it was spent. */
function timeoutOf(error: unknown, address: EdgeAddress, transport: Transport): unknown {
  if (!(error instanceof LateError)) return error;
  const phase = transport === "udp" ? "quic" : "tcp";
  return new DialError(phase, address, `no answer from ${address.ip} within ${DIAL_MS / 1000} s`);
}

function systemCode(error: unknown): unknown {
  for (let next = error; next instanceof Error; next = next.cause) {
    if ("code" in next && NO_ROUTE.has(next.code)) return next.code;
  }
  return undefined;
}
