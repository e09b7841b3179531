/** Runs quic-go or aioquic as a process, and reads what it tells: one JSON object a line. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { ALPN, authority, leaf, NAME } from "./ours.ts";

export interface PeerEvent {
  readonly event: string;
  readonly [name: string]: unknown;
}

export class PeerProcess {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #events: PeerEvent[] = [];
  readonly #waiting: (() => void)[] = [];
  #stderr = "";
  #ended = false;

  constructor(command: readonly string[], args: readonly string[]) {
    const [file = "", ...before] = command;
    this.#child = spawn(file, [...before, ...args]);
    this.#child.stderr.on("data", (chunk: Buffer) => {
      if (this.#stderr.length < 10_000) this.#stderr += chunk.toString();
    });
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      this.#events.push(JSON.parse(line) as PeerEvent);
      this.#notify();
    });
    this.#child.on("close", () => {
      this.#ended = true;
      this.#notify();
    });
    this.#child.on("error", (error) => {
      this.#stderr += error.message;
    });
  }

  /** The first event of that name, taken out. Rejects when the process has ended, or told of a failure, before. */
  async next(name: string): Promise<PeerEvent> {
    for (;;) {
      const at = this.#events.findIndex(({ event }) => event === name || event === "failed");
      const [found] = at < 0 ? [] : this.#events.splice(at, 1);
      if (found?.event === name) return found;
      if (found !== undefined || this.#ended) {
        throw new Error(`no "${name}" from the peer: ${JSON.stringify(found ?? this.#events)} ${this.#stderr}`);
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  say(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  /** Its stdin ends: it leaves by itself, or is made to. */
  async stop(): Promise<void> {
    if (this.#ended) return;
    const closed = new Promise<void>((resolve) => this.#child.once("close", () => resolve()));
    this.#child.stdin.end();
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 2_000);
    await closed;
    clearTimeout(timer);
  }

  #notify(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** A peer program, and the files that it needs. */
export class PeerProgram {
  readonly #command: readonly string[];
  readonly #directory = mkdtempSync(path.join(tmpdir(), "underpass-quic-"));
  readonly #processes: PeerProcess[] = [];

  constructor(command: readonly string[]) {
    this.#command = command;
    writeFileSync(this.#file("ca.pem"), authority.certPem);
    writeFileSync(this.#file("cert.pem"), leaf.certPem);
    writeFileSync(this.#file("key.pem"), leaf.keyPem, { mode: 0o600 });
  }

  async server(...args: string[]): Promise<{ readonly process: PeerProcess; readonly port: number }> {
    const files = ["--cert", this.#file("cert.pem"), "--key", this.#file("key.pem")];
    const process = this.#start(["server", "--alpn", ALPN, ...files, ...args]);
    const { port } = await process.next("listening");
    return { process, port: Number(port) };
  }

  client(port: number, ...args: string[]): PeerProcess {
    const to = ["--address", `127.0.0.1:${port}`, "--ca", this.#file("ca.pem"), "--name", NAME];
    return this.#start(["client", "--alpn", ALPN, ...to, ...args]);
  }

  async end(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.stop()));
    this.#processes.length = 0;
  }

  /** The last call: its files go, too. */
  async remove(): Promise<void> {
    await this.end();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #file(name: string): string {
    return path.join(this.#directory, name);
  }

  #start(args: readonly string[]): PeerProcess {
    const process = new PeerProcess(this.#command, args);
    this.#processes.push(process);
    return process;
  }
}
