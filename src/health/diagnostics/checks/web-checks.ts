/** What is reached by HTTPS: Cloudflare's API, who hands out quick tunnels, the proxy in between; and the clock that they show. */
import { environmentProxy } from "../../../proxy/environment-proxy.ts";
import { hostPort } from "../../../proxy/origin-target.ts";
import { checkRow, knownRow, messageOf } from "./row.ts";
import type { CheckComponent, CheckPeers, CheckPlan, CheckResult, Outcome, WebAnswer } from "./types.ts";

const WEB_MS = 8_000;

/** A second of the header's, and what a slow network adds. */
const CLOCK_FINE_MS = 10_000;
/** Tokens of Cloudflare Access are refused by then, and certificates soon. */
const CLOCK_WRONG_MS = 300_000;
const SET_CLOCK = "set this machine's clock, best by NTP (systemd-timesyncd, chrony)";

export async function checkWeb(plan: CheckPlan, peers: CheckPeers): Promise<readonly CheckResult[]> {
  const answers: WebAnswer[] = [];
  const failures: unknown[] = [];
  const ask =
    (url: URL) =>
    async (signal: AbortSignal): Promise<Outcome> => {
      try {
        const answer = await peers.ask(new URL("/", url), signal);
        answers.push(answer);
        return { status: "ok", details: `answers (HTTP ${answer.status})` };
      } catch (error) {
        failures.push(error);
        return { status: "failed", details: messageOf(error), action: actionFor(error, plan, url) };
      }
    };
  const row = (id: string, component: CheckComponent, url: URL): Promise<CheckResult> =>
    checkRow({ id, component, target: url.host }, WEB_MS, ask(url));
  const { quickService } = plan;
  const [proxy, ...rows] = await Promise.all([
    checkProxy(plan, peers),
    row("api", "API", plan.api),
    ...(quickService === undefined ? [] : [row("quick-service", "Quick tunnels", quickService)]),
  ]);
  return [judgeClock(answers, failures), proxy, ...rows];
}

function proxyOf({ environment }: CheckPlan, url: URL): ReturnType<typeof environmentProxy> {
  const scheme = url.protocol === "http:" ? "http" : "https";
  const port = Number(url.port) || (scheme === "http" ? 80 : 443);
  return environmentProxy(scheme, { kind: "tcp", host: url.hostname.replace(/^\[|\]$/g, ""), port }, environment);
}

function actionFor(error: unknown, plan: CheckPlan, url: URL): string {
  if (isCertificateTime(error)) return SET_CLOCK;
  if (proxyOf(plan, url) !== undefined)
    return "see the row of the proxy; NO_PROXY has the hosts that are reached without it";
  return `let this machine reach ${url.host}, or name a proxy by HTTPS_PROXY`;
}

/** A certificate that is not valid yet, or no longer: of two clocks one is wrong, and it is rarely Cloudflare's. */
function isCertificateTime(error: unknown): boolean {
  for (let next = error; next instanceof Error; next = next.cause) {
    if ("code" in next && (next.code === "CERT_HAS_EXPIRED" || next.code === "CERT_NOT_YET_VALID")) return true;
  }
  return false;
}

function judgeClock(answers: readonly WebAnswer[], failures: readonly unknown[]): CheckResult {
  const head = { id: "clock", component: "Clock", target: "this machine's clock" } as const;
  const [offset] = answers
    .flatMap(({ date, receivedAt, sentAt }) => (date === undefined ? [] : [(sentAt + receivedAt) / 2 - date]))
    .sort((a, b) => Math.abs(a) - Math.abs(b));
  if (offset === undefined) {
    const details = "a certificate is not valid at the time that this machine has";
    if (failures.some((error) => isCertificateTime(error)))
      return knownRow(head, { status: "failed", details, action: SET_CLOCK });
    return knownRow(head, { status: "skipped", details: "no web server answered that would tell the time" });
  }
  const seconds = Math.abs(Math.round(offset / 1000));
  if (Math.abs(offset) <= CLOCK_FINE_MS) return knownRow(head, { status: "ok", details: "agrees with Cloudflare's" });
  const status = Math.abs(offset) <= CLOCK_WRONG_MS ? "warning" : "failed";
  const details = `${seconds} s ${offset > 0 ? "ahead of" : "behind"} Cloudflare's`;
  return knownRow(head, { status, details, action: SET_CLOCK });
}

function checkProxy(plan: CheckPlan, peers: CheckPeers): Promise<CheckResult> {
  const url = plan.quickService ?? plan.api;
  const proxy = proxyOf(plan, url);
  const id = "proxy.environment";
  if (proxy === undefined) {
    const name = url.protocol === "http:" ? "HTTP_PROXY" : "HTTPS_PROXY";
    const value = plan.environment[name] || plan.environment[name.toLowerCase()] || "";
    const details =
      value === "" ? "none is set: the API and quick tunnels are reached directly" : `not used for ${url.host}`;
    return Promise.resolve(knownRow({ id, component: "Proxy", target: name }, { status: "skipped", details }));
  }
  const { address, problem } = proxy;
  const target = problem === undefined ? hostPort(address.host, address.port) : "environment";
  const port = Number(url.port) || (url.protocol === "http:" ? 80 : 443);
  return checkRow({ id, component: "Proxy", target }, WEB_MS, async (signal) => {
    const action =
      "correct HTTPS_PROXY, or unset it where no proxy is needed; NO_PROXY has the hosts that are reached without it";
    if (problem !== undefined) return { status: "failed", details: problem, action };
    try {
      await peers.throughProxy(proxy, url.hostname, port, signal);
      return {
        status: "ok",
        details: `connects to ${url.host}; used for the API and quick tunnels, and for the edge where there is no other way`,
      };
    } catch (error) {
      return { status: "failed", details: messageOf(error), action };
    }
  });
}
