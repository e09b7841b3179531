/** Every conformance row, and how one is run. */
import { startMockEdge } from "../../../src/mock-edge/index.ts";
import type { EdgeProtocol } from "../../../src/types.ts";
import { configurationRows } from "./configuration.ts";
import { framingRows } from "./framing.ts";
import { httpRows } from "./http.ts";
import { lifeRows } from "./life.ts";
import { startOrigin } from "./origin.ts";
import { registrationRows } from "./registration.ts";
import { type Instance, type Json, normalise, type Row, type RowContext, type Subject } from "./row.ts";
import { ruleRows } from "./rules.ts";
import { serviceRows } from "./services.ts";
import { streamRows } from "./streams.ts";

export const rows: readonly Row[] = [
  ...registrationRows,
  ...framingRows,
  ...httpRows,
  ...ruleRows,
  ...streamRows,
  ...serviceRows,
  ...configurationRows,
  ...lifeRows,
];

/** Those of them that a transport has. */
export function rowsOver(protocol: EdgeProtocol): readonly Row[] {
  return rows.filter(({ only }) => only === undefined || only === protocol);
}

interface World extends RowContext {
  close(): Promise<void>;
}

async function createWorld(subject: Subject, over: EdgeProtocol, options: Row["own"]): Promise<World> {
  const edge = await startMockEdge(options);
  const origin = await startOrigin();
  const token = edge.issueToken();
  const instances: Instance[] = [];
  return {
    edge,
    origin,
    start: ({
      protocol = over,
      connections = 1,
      addresses = connections + 1,
      graceMs = 2_000,
      rpcTimeoutMs = 5_000,
      url = origin.url,
      maxActiveFlows,
      environment = {},
    } = {}) => {
      const instance = subject.start(edge, token, {
        protocol,
        connections,
        addresses,
        graceMs,
        rpcTimeoutMs,
        url,
        maxActiveFlows,
        environment,
      });
      // A row may not wait for its end.
      instance.exit.catch(() => {});
      instances.push(instance);
      return instance;
    },
    async close() {
      await Promise.all(instances.map((instance) => instance.kill()));
      await edge.close();
      await origin.close();
    },
  };
}

/** Runs rows against one kind of connector; those that can share a connector do. */
export class RowRunner {
  readonly #subject: Subject;
  readonly #protocol: EdgeProtocol;
  #shared: Promise<World> | undefined;

  constructor(subject: Subject, protocol: EdgeProtocol) {
    this.#subject = subject;
    this.#protocol = protocol;
  }

  async run(row: Row): Promise<Json> {
    if (row.own === undefined) {
      const { edge, origin, start } = await this.#sharedWorld();
      return normalise(await row.run({ edge, origin, start }));
    }
    const world = await createWorld(this.#subject, this.#protocol, row.own);
    try {
      return normalise(await row.run(world));
    } finally {
      await world.close();
    }
  }

  async close(): Promise<void> {
    const shared = await this.#shared?.catch(() => undefined);
    await shared?.close();
  }

  #sharedWorld(): Promise<World> {
    this.#shared ??= (async () => {
      const world = await createWorld(this.#subject, this.#protocol, {});
      world.start();
      await world.edge.registered(1);
      return world;
    })();
    return this.#shared;
  }
}
