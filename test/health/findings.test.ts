/** What stands of what checks have found, by a clock that the test moves. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Findings } from "../../src/health/findings.ts";
import type { Verdict } from "../../src/health/policy.ts";

const healthy: Verdict = { kind: "healthy" };
const degraded: Verdict = { kind: "degraded", status: 302, message: "302" };
const failed: Verdict = { kind: "failed", message: "530" };
const originDown: Verdict = { kind: "degraded", status: undefined, message: "origin" };
let findings: Findings;

beforeEach(() => {
  vi.useFakeTimers();
  findings = new Findings();
});
afterEach(() => void vi.useRealTimers());

function look(hostname: Verdict | undefined, origins = healthy, since = performance.now()): readonly string[] {
  vi.advanceTimersByTime(10);
  findings.checked({ hostname, origins, since });
  return findings.problems;
}

describe("what checks have found", () => {
  it("stands until the next one that can tell", () => {
    expect(findings.problems).toEqual([]);
    expect(look(degraded, originDown)).toEqual(["302", "origin"]);
    expect(look(undefined)).toEqual(["302"]);
    expect(look(undefined, originDown)).toEqual(["302", "origin"]);
    expect(look(failed)).toEqual(["530"]);
    expect(look(healthy)).toEqual([]);
  });

  it("of the way to the tunnel ends with its connections, of what answers does not", () => {
    look(degraded);
    look(failed);
    findings.lost();
    expect(findings.problems).toEqual(["302"]);
    look(healthy);
    look(failed);
    findings.lost();
    expect(findings.problems).toEqual([]);
  });

  it("is nothing where the connections were lost in the middle of the check", () => {
    const since = performance.now();
    vi.advanceTimersByTime(1_000);
    findings.lost();
    vi.advanceTimersByTime(1_000);
    expect(look(failed, healthy, since)).toEqual([]);
    expect(look(degraded, healthy, since)).toEqual(["302"]);
    expect(look(failed)).toEqual(["530"]);
  });

  it("is of no other public hostname", () => {
    look(failed, originDown);
    look(degraded, originDown);
    findings.moved();
    expect(findings.problems).toEqual(["origin"]);
  });
});
