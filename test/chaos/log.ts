/** Whether somebody could read the log of a storm: what it says of it, how often, and what it must never say. */
import { REPEAT_LIMITS } from "../../src/cli/repeat-limiter.ts";

interface Line {
  readonly level: string;
  readonly time: string;
  readonly message: string;
  readonly error?: unknown;
  readonly connIndex?: number;
  readonly stack?: unknown;
}

export interface LogFacts {
  readonly faults: number;
  /** Requests that failed, whatever for. */
  readonly failedRequests: number;
  readonly minutes: number;
  /** What must not be in it. */
  readonly secrets: readonly string[];
}

/** A fault may hit each of four connections, and each is lost, tried again a few times, and registered by two lines. */
const LINES_A_FAULT = 4 * 8;
const LINES_AT_REST = 60;

const OF_A_REQUEST = /^Request (failed|cut off)$/;
/** Each must say why. */
const OF_A_LOSS =
  /^(Lost connection with the edge|Retrying connection in up to|Serve tunnel error|Register tunnel error)/;

function parse(text: string): { lines: Line[]; broken: string[] } {
  const lines: Line[] = [];
  const broken: string[] = [];
  for (const line of text.split("\n")) {
    if (line === "") continue;
    try {
      lines.push(JSON.parse(line) as Line);
    } catch {
      broken.push(line);
    }
  }
  return { lines, broken };
}

/** Complaints; none about a log that is readable. */
export function complaintsAbout(text: string, { failedRequests, faults, minutes, secrets }: LogFacts): string[] {
  const { broken, lines } = parse(text);
  const complaints = broken.map((line) => `not JSON: ${line.slice(0, 200)}`);
  for (const secret of secrets) if (text.includes(secret)) complaints.push("a secret is in the log");
  const byMessage = new Map<string, number>();
  let ofRequests = 0;
  for (const line of lines) {
    const said = JSON.stringify(line).slice(0, 400);
    if (line.stack !== undefined || /\\n\s+at .+:\d+:\d+/.test(said)) complaints.push(`a stack trace: ${said}`);
    if (/unhandled|uncaught/i.test(said)) complaints.push(`unhandled: ${said}`);
    if (OF_A_LOSS.test(line.message) && (typeof line.error !== "string" || line.error.length < 5))
      complaints.push(`a loss without a cause: ${said}`);
    if (OF_A_REQUEST.test(line.message)) ofRequests++;
    byMessage.set(line.message, (byMessage.get(line.message) ?? 0) + 1);
  }
  const others = lines.length - ofRequests;
  if (others > faults * LINES_A_FAULT + LINES_AT_REST) complaints.push(`${others} lines of ${faults} faults`);
  // A visitor may leave, and come again, while the connector still works for the one before.
  if (ofRequests > failedRequests + faults * LINES_A_FAULT)
    complaints.push(`${ofRequests} lines of ${failedRequests} requests`);
  // A minute may begin in the middle of another one.
  const most = REPEAT_LIMITS.ofOneMessage * (Math.ceil(minutes) + 1);
  for (const [message, count] of byMessage) if (count > most) complaints.push(`${count} times "${message}"`);
  return complaints;
}

/** For people: how often each message came. */
export function summaryOf(text: string): string {
  const counts = new Map<string, number>();
  for (const { level, message } of parse(text).lines) {
    const key = `${level} ${message}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([key, count]) => `${String(count).padStart(6)} ${key}`)
    .join("\n");
}
