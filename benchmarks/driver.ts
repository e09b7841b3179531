/**
 * The edge of the benchmarks, in its own process: accepts a connector's connections, over HTTP/2 and QUIC, registers them, and
 * drives load through them. It is told what to do over IPC and reads the connector's CPU and memory from /proc.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createAuthority } from "../src/mock-edge/ca.ts";
import type { ClientStream, ClientStreamHandler, EdgeClient, EdgeEvents } from "./edge-client.ts";
import { listenHttp2 } from "./http2-edge.ts";
import { listenQuicEdge, type QuicEdgeListener } from "./quic-edge.ts";
import type { Command, Measurement, ScenarioName } from "./messages.ts";

const TICKS_PER_SECOND = Number(execFileSync("getconf", ["CLK_TCK"]).toString());

const authority = createAuthority();
const connections: EdgeClient[] = [];
let registeredAt: number[] = [];

const events: EdgeEvents = {
  registered(client) {
    registeredAt.push(Date.now());
    connections.push(client);
  },
  gone(client) {
    const index = connections.indexOf(client);
    if (index >= 0) connections.splice(index, 1);
  },
};

const quic: QuicEdgeListener = await listenQuicEdge(authority, events);

function cpuMicroseconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return ((Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND) * 1e6;
}

function residentKiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? 0);
}

interface Load {
  done: number;
  failed: number;
  readonly latencies: number[] | undefined;
}

const IGNORE = { onEnd() {}, onCancel() {}, onWritable() {} };

/** One GET after another on one slot, until stopped. */
function slot(client: EdgeClient, path: string, load: Load, running: () => boolean): void {
  let started = 0;
  let stream: ClientStream | undefined;
  const next = (): void => {
    if (!running()) return;
    started = performance.now();
    stream = client.request({ method: "GET", path, end: true }, handler);
  };
  const handler: ClientStreamHandler = {
    onResponse: (head) => {
      if (head.status !== 200) load.failed++;
    },
    onData: (chunk) => stream?.consumed(chunk.length),
    onEnd: () => {
      load.done++;
      load.latencies?.push(performance.now() - started);
      next();
    },
    onCancel: () => {
      load.failed++;
    },
    onWritable() {},
  };
  next();
}

function pick(index: number): EdgeClient {
  const connection = connections[index % connections.length];
  if (connection === undefined) throw new Error("no connection is registered");
  return connection;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Window {
  readonly seconds: number;
  readonly cpuUs: number;
  /** Of the connector, over QUIC; none over HTTP/2. */
  readonly packets: { readonly sent: number; readonly received: number };
}

function perPacket({ cpuUs, packets: { sent, received } }: Window): Measurement {
  const all = sent + received;
  return all === 0 ? {} : { "us/packet": cpuUs / all, "% sent": (100 * sent) / all };
}

async function measured(pid: number, milliseconds: number, begin: () => void): Promise<Window> {
  const cpu = cpuMicroseconds(pid);
  const before = quic.packets();
  const started = performance.now();
  begin();
  await sleep(milliseconds);
  const after = quic.packets();
  return {
    seconds: (performance.now() - started) / 1000,
    cpuUs: cpuMicroseconds(pid) - cpu,
    // What the edge receives is what the connector sent.
    packets: { sent: after.received - before.received, received: after.sent - before.sent },
  };
}

function quantile(values: number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0;
}

async function gets(
  pid: number,
  concurrent: number,
  spread: boolean,
  path: string,
  seconds: number,
): Promise<Measurement> {
  let running = true;
  const load: Load = { done: 0, failed: 0, latencies: [] };
  for (let i = 0; i < concurrent; i++) slot(pick(spread ? i : 0), path, load, () => running);
  await sleep(1000);
  const window = await measured(pid, seconds * 1000, () => {
    load.done = 0;
    if (load.latencies !== undefined) load.latencies.length = 0;
  });
  running = false;
  const { done, failed } = load;
  const latencies = load.latencies ?? [];
  await sleep(300);
  return {
    "us/req": window.cpuUs / done,
    "req/s": done / window.seconds,
    "p50 ms": quantile(latencies, 0.5),
    "p99 ms": quantile(latencies, 0.99),
    "RSS MB": residentKiB(pid) / 1024,
    failed,
  };
}

/** Calls `fire` with 0, 1, 2 … at an even rate, until the returned function is called. */
function paced(rate: number, fire: (n: number) => void): () => void {
  const started = performance.now();
  let sent = 0;
  const clock = setInterval(() => {
    const due = ((performance.now() - started) / 1000) * rate;
    for (; sent < due; sent++) fire(sent);
  }, 1);
  return () => clearInterval(clock);
}

async function fixedRate(pid: number, rate: number, seconds: number): Promise<Measurement> {
  const load: Load = { done: 0, failed: 0, latencies: [] };
  const stopClock = paced(rate, (n) => {
    let first = true;
    slot(pick(n), "/small", load, () => {
      const go = first;
      first = false;
      return go;
    });
  });
  await sleep(1000);
  const window = await measured(pid, seconds * 1000, () => {
    load.done = 0;
    if (load.latencies !== undefined) load.latencies.length = 0;
  });
  stopClock();
  const { done, failed } = load;
  return {
    "us/req": window.cpuUs / done,
    "req/s": done / window.seconds,
    "p50 ms": quantile(load.latencies ?? [], 0.5),
    "p99 ms": quantile(load.latencies ?? [], 0.99),
    failed,
  };
}

async function download(pid: number, seconds: number): Promise<Measurement> {
  let running = true;
  let bytes = 0;
  let failed = 0;
  for (let i = 0; i < 8; i++) {
    const client = pick(i);
    let stream: ClientStream | undefined;
    const next = (): void => {
      if (running) stream = client.request({ method: "GET", path: "/big", end: true }, handler);
    };
    const handler: ClientStreamHandler = {
      ...IGNORE,
      onData: (chunk) => {
        bytes += chunk.length;
        stream?.consumed(chunk.length);
      },
      onEnd: next,
      onCancel: () => {
        failed++;
      },
    };
    next();
  }
  await sleep(1000);
  const window = await measured(pid, seconds * 1000, () => {
    bytes = 0;
  });
  const taken = bytes;
  running = false;
  await sleep(500);
  return { "ns/B": (window.cpuUs * 1000) / taken, "MB/s": taken / 1e6 / window.seconds, ...perPacket(window), failed };
}

const UPLOAD_BYTES = 10_000_000;
const UPLOAD_CHUNK = Buffer.alloc(64 * 1024, 0x62);

async function upload(pid: number, seconds: number): Promise<Measurement> {
  let running = true;
  let bytes = 0;
  let failed = 0;
  for (let i = 0; i < 8; i++) {
    const client = pick(i);
    let left = 0;
    let stream: ClientStream | undefined;
    const pump = (): void => {
      while (left > 0 && stream !== undefined) {
        const chunk = left >= UPLOAD_CHUNK.length ? UPLOAD_CHUNK : UPLOAD_CHUNK.subarray(0, left);
        left -= chunk.length;
        // As they are taken: whole uploads end too rarely, and all at once.
        bytes += chunk.length;
        if (!stream.write(chunk, left === 0)) return;
      }
    };
    const next = (): void => {
      if (!running) return;
      left = UPLOAD_BYTES;
      stream = client.request({ method: "POST", path: "/upload", end: false, length: UPLOAD_BYTES }, handler);
      pump();
    };
    const handler: ClientStreamHandler = {
      onData: (chunk) => stream?.consumed(chunk.length),
      onEnd: next,
      onCancel: () => {
        failed++;
      },
      onWritable: pump,
    };
    next();
  }
  await sleep(1000);
  const window = await measured(pid, seconds * 1000, () => {
    bytes = 0;
  });
  const taken = bytes;
  running = false;
  await sleep(700);
  return { "ns/B": (window.cpuUs * 1000) / taken, "MB/s": taken / 1e6 / window.seconds, ...perPacket(window), failed };
}

async function held(pid: number, count: number): Promise<Measurement> {
  let open = 0;
  let failed = 0;
  const streams: ClientStream[] = [];
  // One plain request a connection first, so that what is loaded once is not counted.
  await gets(pid, 8, true, "/small", 0.2);
  await sleep(500);
  const before = residentKiB(pid);
  for (let i = 0; i < count; i++) {
    const stream: ClientStream | undefined = pick(i).request(
      { method: "GET", path: "/sse", end: true },
      {
        ...IGNORE,
        onData: (chunk) => {
          open++;
          stream?.consumed(chunk.length);
        },
        onCancel: () => {
          failed++;
        },
      },
    );
    if (stream !== undefined) streams.push(stream);
    if (i % 100 === 99) await sleep(20);
  }
  for (let waited = 0; open < count && waited < 200; waited++) await sleep(50);
  await sleep(2000);
  const after = residentKiB(pid);
  for (const stream of streams) stream.reset();
  await sleep(1500);
  const survived: Load = { done: 0, failed: 0, latencies: undefined };
  let once = true;
  slot(pick(0), "/small", survived, () => {
    const first = once;
    once = false;
    return first;
  });
  await sleep(500);
  return {
    streams: open,
    "KB/stream": ((after - before) * 1.024) / count,
    "RSS MB": after / 1024,
    failed,
    "served after cancelling all": survived.done,
  };
}

/** Echoes over 32 WebSockets: one after the other on each, or `rate` a second over all. */
async function websocket(pid: number, seconds: number, rate?: number): Promise<Measurement> {
  // A masked 64-byte text frame, as a client sends it.
  const frame = Buffer.concat([Buffer.from([0x81, 0x80 | 64, 1, 2, 3, 4]), Buffer.alloc(64, 0x41)]);
  let running = true;
  let messages = 0;
  let failed = 0;
  const streams: ClientStream[] = [];
  for (let i = 0; i < 64; i++) {
    let pending = 0;
    const stream: ClientStream | undefined = pick(i).request(
      { method: "GET", path: "/ws", end: false, websocket: true },
      {
        ...IGNORE,
        onResponse: (head) => {
          // Over HTTP/2 101 travels as 200.
          if (head.status !== 200 && head.status !== 101) failed++;
          else if (rate === undefined) stream?.write(frame, false);
        },
        onData: (chunk) => {
          stream?.consumed(chunk.length);
          pending += chunk.length;
          if (pending < frame.length) return;
          pending -= frame.length;
          messages++;
          if (running && rate === undefined) stream?.write(frame, false);
        },
        onCancel: () => {
          failed++;
        },
      },
    );
    if (stream !== undefined) streams.push(stream);
  }
  await sleep(200);
  const stopClock =
    rate === undefined ? (): void => {} : paced(rate, (n) => streams[n % streams.length]?.write(frame, false));
  await sleep(1000);
  const window = await measured(pid, seconds * 1000, () => {
    messages = 0;
  });
  const taken = messages;
  running = false;
  stopClock();
  await sleep(200);
  for (const stream of streams) stream.reset();
  return { "us/message": window.cpuUs / taken, "messages/s": taken / window.seconds, failed };
}

const SCENARIOS: Record<ScenarioName, (pid: number, seconds: number) => Promise<Measurement>> = {
  saturated: (pid, seconds) => gets(pid, 64, true, "/small", seconds),
  "3000/s": (pid, seconds) => fixedRate(pid, 3000, seconds),
  download,
  upload,
  "5000 SSE": (pid) => held(pid, 5000),
  "WebSocket echo": (pid, seconds) => websocket(pid, seconds),
  "WebSocket 3000/s": (pid, seconds) => websocket(pid, seconds, 3000),
  "1 stream": (pid, seconds) => gets(pid, 1, false, "/small", seconds),
  "8 streams": (pid, seconds) => gets(pid, 8, false, "/small", seconds),
  "64 streams": (pid, seconds) => gets(pid, 64, false, "/small", seconds),
  "512 streams": (pid, seconds) => gets(pid, 512, false, "/small", seconds),
};

const ports = { http2: await listenHttp2(authority, events), quic: quic.port };
process.send?.({ kind: "listening", ports, cacert: authority.certPem });

async function obey(command: Command): Promise<unknown> {
  if (command.kind === "forget") {
    registeredAt = [];
    return { kind: "forgotten" };
  }
  if (command.kind === "run") {
    return { kind: "measured", values: await SCENARIOS[command.scenario](command.pid, command.seconds) };
  }
  for (let waited = 0; registeredAt.length < command.connections && waited < 6_000; waited++) await sleep(10);
  return { kind: "registered", at: registeredAt };
}

process.on("message", (command: Command) => {
  obey(command).then(
    (answer) => process.send?.(answer),
    (error: unknown) => process.send?.({ kind: "failed", message: String(error) }),
  );
});
process.on("disconnect", () => process.exit(0));
