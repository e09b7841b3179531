import { EventEmitter } from "node:events";
import { PassThrough, Writable } from "node:stream";
import type { CliIo, ShutdownSignal } from "../../src/cli/io.ts";
import { main } from "../../src/cli/dispatch.ts";
import type { StartTunnel } from "../../src/cli/run.ts";
import type { ConnectionInfo, LocalTunnel, TunnelEvents, TunnelRuntime } from "../../src/connector/api.ts";
import type { IngressUpdate } from "../../src/connector/orchestrator.ts";
import type { TunnelConfig } from "../../src/config/tunnel-config.ts";
import type { Ingress } from "../../src/types.ts";

export class FakeIo implements CliIo {
  readonly env: Record<string, string>;
  readonly stdin = new PassThrough();
  readonly stdout = new TextSink();
  readonly stderr = new TextSink();
  readonly #signals = new EventEmitter();
  killed = 0;

  constructor(env: Record<string, string> = {}) {
    // No default file of the machine that runs the tests.
    this.env = { HOME: "/nonexistent", ...env };
  }

  onSignal(listener: (signal: ShutdownSignal) => void): () => void {
    this.#signals.on("signal", listener);
    return () => this.#signals.off("signal", listener);
  }

  signal(signal: ShutdownSignal): void {
    this.#signals.emit("signal", signal);
  }

  onHangup(listener: (terminalGone: boolean) => void): () => void {
    this.#signals.on("hangup", listener);
    return () => this.#signals.off("hangup", listener);
  }

  hangup(terminalGone = false): void {
    this.#signals.emit("hangup", terminalGone);
  }

  get listeners(): number {
    return this.#signals.listenerCount("signal") + this.#signals.listenerCount("hangup");
  }

  kill(): void {
    this.killed++;
  }
}

export class TextSink extends Writable {
  text = "";
  isTTY = false;

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    this.text += chunk.toString("utf8");
    this.emit("said");
    done();
  }

  /** The lines as JSON log entries. */
  get entries(): Record<string, unknown>[] {
    return this.text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  get messages(): unknown[] {
    return this.entries.map(({ message }) => message);
  }
}

/** Stands in for the connector: says what the test makes it say. */
export class FakeTunnel implements LocalTunnel {
  readonly connectorId = "00000000-0000-4000-8000-000000000000";
  readonly tunnelId = undefined;
  readonly url = undefined;
  readonly connections: readonly ConnectionInfo[] = [];
  readonly metricsUrl = undefined;
  readonly skipsPrechecks = false;
  readonly registered: Promise<void>;
  readonly finished: Promise<void>;
  readonly config: TunnelConfig;
  readonly runtime: TunnelRuntime;
  readonly state = "starting";
  readonly ingresses: Ingress[] = [];
  failedReloads = 0;
  readonly reconnects: { connIndex: number | undefined; pause: number | undefined }[] = [];
  /** What becomes of the next rules. */
  nextUpdate: IngressUpdate = { result: "applied" };
  readonly closes: ({ grace?: number } | undefined)[] = [];
  readonly #events = new EventEmitter();
  #finish: (error?: Error) => void = () => {};

  constructor(config: TunnelConfig, runtime: TunnelRuntime) {
    this.config = config;
    this.runtime = runtime;
    this.finished = new Promise((resolve, reject) => {
      this.#finish = (error) => (error === undefined ? resolve() : reject(error));
    });
    this.registered = this.finished;
  }

  updateIngress(ingress: Ingress): IngressUpdate {
    this.ingresses.push(ingress);
    return this.nextUpdate;
  }

  reconnect(connIndex?: number, options: { pause?: number } = {}): boolean {
    this.reconnects.push({ connIndex, pause: options.pause });
    return this.connections.length > 0;
  }

  reloadFailed(): void {
    this.failedReloads++;
  }

  close(options?: { grace?: number }): Promise<void> {
    this.closes.push(options);
    return this.finished.catch(() => {});
  }

  /** Ends the tunnel: of itself, or with its final error. */
  finish(error?: Error): void {
    this.#finish(error);
  }

  emit<E extends keyof TunnelEvents>(event: E, ...args: TunnelEvents[E]): void {
    this.#events.emit(event, ...args);
  }

  on<E extends keyof TunnelEvents>(event: E, listener: (...args: TunnelEvents[E]) => void): this {
    this.#events.on(event, listener as (...args: unknown[]) => void);
    return this;
  }

  once<E extends keyof TunnelEvents>(event: E, listener: (...args: TunnelEvents[E]) => void): this {
    this.#events.once(event, listener as (...args: unknown[]) => void);
    return this;
  }

  off<E extends keyof TunnelEvents>(event: E, listener: (...args: TunnelEvents[E]) => void): this {
    this.#events.off(event, listener as (...args: unknown[]) => void);
    return this;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

export interface Ran {
  readonly status: number;
  readonly io: FakeIo;
  /** The tunnel that was started, if any. */
  readonly tunnel: FakeTunnel | undefined;
}

/** Runs a command line whose tunnel, if it starts one, ends at once, or as `act` has it. */
export async function cli(
  args: readonly string[],
  env: Record<string, string> = {},
  act: (tunnel: FakeTunnel, io: FakeIo) => void = (tunnel) => tunnel.finish(),
  io = new FakeIo(env),
): Promise<Ran> {
  let tunnel: FakeTunnel | undefined;
  const start: StartTunnel = (config, runtime) => {
    const started = new FakeTunnel(config, runtime);
    tunnel = started;
    // After the caller has put its listeners on.
    setImmediate(() => act(started, io));
    return started;
  };
  const status = await main(args, io, start);
  return { status, io, tunnel };
}

/** A stream that nobody reads. */
export function stuckStream(): PassThrough {
  return new PassThrough({ highWaterMark: 1 });
}
