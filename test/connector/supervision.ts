/** A supervisor over fake connections, in virtual time. */
import { expect, vi } from "vitest";
import type { ConnectionInfo } from "../../src/connector/api.ts";
import { Deadline } from "../../src/connector/drain.ts";
import { Supervisor, type SupervisorOptions } from "../../src/connector/supervisor.ts";
import { FakeAddresses, FakeEdge, fakeParts, type LogLine, recordingLogger } from "./fake-edge.ts";

interface SupervisionEvent {
  readonly name: "registered" | "disconnected" | "failed" | "retrying" | "silence";
  readonly connIndex: number;
  readonly info: ConnectionInfo;
  readonly error: Error | undefined;
}

export interface Supervision {
  readonly supervisor: Supervisor;
  readonly edge: FakeEdge;
  readonly addresses: FakeAddresses;
  readonly gaveUp: Error[];
  readonly advance: (milliseconds: number) => Promise<unknown>;
  readonly named: (name: SupervisionEvent["name"]) => SupervisionEvent[];
  readonly logged: (text: string) => LogLine[];
}

/** Starts four connections unless told otherwise, and holds the supervisor to leave nothing behind. */
export async function inSupervision(
  options: Partial<SupervisorOptions>,
  run: (supervision: Supervision) => Promise<void>,
): Promise<void> {
  vi.useFakeTimers({ now: 0 });
  const edge = new FakeEdge();
  const addresses = new FakeAddresses();
  const events: SupervisionEvent[] = [];
  const gaveUp: Error[] = [];
  const { logger, lines } = recordingLogger();
  const note = (name: SupervisionEvent["name"], info: ConnectionInfo, error?: Error): void => {
    events.push({ name, connIndex: info.connIndex, info, error });
  };
  const supervisor = new Supervisor(
    fakeParts(edge, { addresses }),
    {
      haConnections: 4,
      retries: 5,
      rpcTimeoutMs: 5_000,
      gracePeriodMs: 30_000,
      connectorId: "99999999-8888-4777-8666-555555555555",
      features: () => [],
      version: "1.2.3",
      arch: "linux_amd64",
      onRequest: () => {},
      ...options,
    },
    {
      registered: (info) => note("registered", info),
      disconnected: (info, error) => note("disconnected", info, error),
      failed: (info, failure) => note("failed", info, failure.error),
      silence: (info) => note("silence", info),
      retrying: (info, _delayMs, error) => note("retrying", info, error),
      gaveUp: (error) => gaveUp.push(error),
    },
    logger,
  );
  const advance = (milliseconds: number): Promise<unknown> => vi.advanceTimersByTimeAsync(milliseconds);
  try {
    supervisor.start();
    await run({
      supervisor,
      edge,
      addresses,
      gaveUp,
      advance,
      named: (name) => events.filter((event) => event.name === name),
      logged: (text) => lines.filter(({ message }) => message.includes(text)),
    });
    const stopped = supervisor.stop(new Deadline(0));
    await advance(10_000);
    await stopped;
    expect(vi.getTimerCount()).toBe(0);
    expect(edge.open).toHaveLength(0);
  } finally {
    vi.useRealTimers();
  }
}
