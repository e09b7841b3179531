/** Connections under whatever an edge and a network can do, in any order, in virtual time: once all is well again they all serve. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type FakeConnection, type FakeEdge, refused, registered } from "../connector/fake-edge.ts";
import { inSupervision, type Supervision } from "../connector/supervision.ts";

const SIZE = 3;

type Action =
  | { readonly kind: "wait"; readonly ms: number }
  | { readonly kind: "drop" | "end-control" | "silent" | "speaks" | "busy" | "idle"; readonly which: number }
  | { readonly kind: "dials"; readonly ok: boolean; readonly ms: number }
  | { readonly kind: "registrations"; readonly how: "ok" | "refused" | "later" | "duplicate" | "never" | "broken" }
  | { readonly kind: "restart" | "thaw" | "network" | "address-gone" }
  | { readonly kind: "replace"; readonly which: number; readonly pauseMs: number };

const which = fc.nat({ max: 7 });
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.nat({ max: 40_000 }) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.nat({ max: 50 }) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom("drop" as const, "end-control", "silent", "speaks", "busy", "idle"),
      which,
    }),
  },
  fc.record({ kind: fc.constant("dials" as const), ok: fc.boolean(), ms: fc.nat({ max: 8_000 }) }),
  fc.record({
    kind: fc.constant("registrations" as const),
    how: fc.constantFrom("ok" as const, "refused", "later", "duplicate", "never", "broken"),
  }),
  fc.record({ kind: fc.constantFrom("restart" as const, "thaw", "network", "address-gone") }),
  fc.record({ kind: fc.constant("replace" as const), which, pauseMs: fc.constantFrom(0, 1, 5_000) }),
);

function pick(edge: FakeEdge, number: number): FakeConnection | undefined {
  return edge.open.length === 0 ? undefined : edge.open[number % edge.open.length];
}

const answers = {
  ok: () => registered(),
  refused: () => refused("no such tunnel"),
  later: () => refused("later", { shouldRetry: true, retryAfterMs: 20_000 }),
  duplicate: () => refused("EDUPCONN"),
  never: () => "never" as const,
  broken: () => new Error("broken"),
};

async function act({ advance, edge, supervisor }: Supervision, step: Action): Promise<void> {
  const connection = "which" in step ? pick(edge, step.which) : undefined;
  switch (step.kind) {
    case "wait":
      await advance(step.ms);
      break;
    case "drop":
      connection?.drop(new Error("ECONNRESET"));
      break;
    case "end-control":
      connection?.client.end(undefined);
      break;
    case "silent":
    case "speaks":
      connection?.onSilence(step.kind === "silent");
      break;
    case "busy":
    case "idle":
      if (connection !== undefined) connection.openStreams = step.kind === "busy" ? 1 : 0;
      break;
    case "dials":
      edge.onDial = () => (step.ok ? undefined : new Error("no route"));
      edge.dialDelayMs = step.ms;
      break;
    case "registrations":
      edge.onRegister = answers[step.how];
      break;
    case "restart":
      supervisor.restart();
      break;
    case "thaw":
      supervisor.thawed();
      break;
    case "network":
      supervisor.networkChanged({ appeared: ["192.0.2.9"], disappeared: [], present: new Set() });
      break;
    case "address-gone":
      supervisor.networkChanged({ appeared: [], disappeared: ["192.0.2.1"], present: new Set() });
      break;
    case "replace":
      supervisor.replace(step.which % SIZE, step.pauseMs);
      break;
  }
}

function heal(edge: FakeEdge): void {
  edge.onDial = () => undefined;
  edge.dialDelayMs = 10;
  edge.onRegister = () => registered();
  for (const connection of edge.open) connection.openStreams = 0;
}

describe("a tunnel's connections", () => {
  it(
    "are all back when edge and network are, and no more of them than were wanted",
    () =>
      fc.assert(
        fc.asyncProperty(fc.array(action, { maxLength: 60 }), fc.boolean(), async (steps, stopsEarly) =>
          inSupervision({ haConnections: SIZE, gracePeriodMs: 60_000 }, async (supervision) => {
            const { advance, edge, gaveUp, supervisor } = supervision;
            await advance(5_000);
            for (const step of steps) {
              await act(supervision, step);
              const { connections } = supervisor;
              expect(connections).toHaveLength(SIZE);
              // Nobody counts who has no connection, and none is counted twice.
              const serving = connections.filter(({ state }) => state === "registered" || state === "silent");
              expect(supervisor.registeredConnections).toBe(serving.length);
              const ids = serving.map(({ connectionId }) => connectionId);
              expect(new Set(ids).size).toBe(ids.length);
              expect(serving.every(({ ageMs }) => ageMs !== undefined && ageMs >= 0)).toBe(true);
            }
            if (stopsEarly) return;
            heal(edge);
            // The longest wait, and the grace of what is drained.
            await advance(400_000);
            for (const connection of edge.open) connection.onSilence(false);
            await advance(400_000);
            expect(supervisor.connections.map(({ state }) => state)).toEqual(Array(SIZE).fill("registered"));
            expect(supervisor.readyConnections).toBe(SIZE);
            expect(edge.open).toHaveLength(SIZE);
            expect(gaveUp).toEqual([]);
          }),
        ),
        { numRuns: 300 },
      ),
    60_000,
  );
});
