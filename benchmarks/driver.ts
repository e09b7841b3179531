/**
 * The edge of the benchmarks, in its own process: accepts a connector's TLS connections, registers them, and drives load
 * through the HTTP/2 client role. It is told what to do over IPC and reads the connector's CPU and memory from /proc.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import tls from "node:tls";
import { createAuthority } from "../src/mock-edge/ca.ts";
import { createHttp2Client } from "../src/protocol/http2/client.ts";
import type { Http2ClientConnection, Http2Stream, Http2StreamHandler } from "../src/protocol/http2/types.ts";
import { serveRegistration } from "../src/rpc/registration-server.ts";
import type { ByteChannel } from "../src/types.ts";
import type { Command, Measurement, ScenarioName } from "./messages.ts";

const HOST = "bench.example.com";
const TICKS_PER_SECOND = Number(execFileSync("getconf", ["CLK_TCK"]).toString());

interface Connection {
  readonly client: Http2ClientConnection;
}

const connections: Connection[] = [];
let registeredAt: number[] = [];

function cpuMicroseconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return ((Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND) * 1e6;
}

function residentKiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? 0);
}

function control(client: Http2ClientConnection, remove: () => void): void {
  const channel: ByteChannel = {
    onData: () => {},
    onEnd: () => {},
    write: (bytes) => void stream?.write(Buffer.from(bytes), false),
    end: () => stream?.end(),
  };
  const stream = client.request(
    (encoder) => {
      encoder.pseudo("GET", "https", HOST, "/");
      encoder.field("cf-cloudflared-proxy-connection-upgrade", "control-stream", "name");
    },
    false,
    {
      onData: (chunk) => {
        channel.onData(chunk);
        stream?.consumed(chunk.length);
      },
      onEnd: () => channel.onEnd(),
      onCancel: () => channel.onEnd(),
      onWritable() {},
    },
  );
  serveRegistration(channel, {
    registerConnection: () => {
      registeredAt.push(Date.now());
      connections.push({ client });
      return {
        kind: "registered",
        connectionId: crypto.randomUUID(),
        location: "bench01",
        remotelyManaged: true,
      };
    },
    unregisterConnection: remove,
    updateLocalConfiguration() {},
  });
}

function accept(socket: tls.TLSSocket): void {
  socket.setNoDelay(true);
  const remove = (): void => {
    const index = connections.findIndex((connection) => connection.client === client);
    if (index >= 0) connections.splice(index, 1);
  };
  let scheduled = false;
  const flush = (): void => {
    scheduled = false;
    for (let buffer = client.takeOutput(); buffer !== undefined; buffer = client.takeOutput()) {
      const taken = buffer;
      socket.write(taken, () => client.recycle(taken));
    }
  };
  const schedule = (): void => {
    if (scheduled) return;
    scheduled = true;
    setImmediate(flush);
  };
  const client: Http2ClientConnection = createHttp2Client(
    { initialWindowSize: 4 * 1024 * 1024, connectionWindowSize: 16 * 1024 * 1024 },
    { onOutput: schedule, onReady: () => control(client, remove), onError: () => socket.destroy() },
    performance.now(),
  );
  schedule();
  socket.on("data", (bytes: Buffer) => client.receive(bytes, performance.now()));
  socket.on("error", () => socket.destroy());
  socket.on("close", () => {
    remove();
    client.socketClosed();
  });
}

/** What the real edge sends with a request; two fields are new with each. */
function small(
  client: Http2ClientConnection,
  path: string,
  method: string,
  end: boolean,
  handler: Http2StreamHandler,
  extra?: string,
) {
  sequence = (sequence + 1) >>> 0;
  const ray = `${(0x100000000 + sequence).toString(16)}9b7f-LHR`;
  return client.request(
    (encoder) => {
      encoder.pseudo(method, "https", HOST, path);
      encoder.field(
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36",
        "index",
      );
      encoder.field("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "index");
      encoder.field("accept-encoding", "gzip, br", "index");
      encoder.field("accept-language", "en-GB,en;q=0.9", "index");
      encoder.field("cache-control", "max-age=0", "index");
      encoder.field("cdn-loop", "cloudflare; loops=1", "index");
      encoder.field("cf-connecting-ip", "203.0.113.7", "index");
      encoder.field("cf-ipcountry", "GB", "index");
      encoder.field("cf-ray", ray, "name");
      encoder.field("cf-visitor", '{"scheme":"https"}', "index");
      encoder.field("cookie", `session=${ray}`, "name");
      encoder.field("x-forwarded-for", "203.0.113.7", "index");
      encoder.field("x-forwarded-proto", "https", "index");
      if (extra === "websocket") {
        encoder.field("cf-cloudflared-proxy-connection-upgrade", "websocket", "index");
        encoder.field("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==", "name");
        encoder.field("sec-websocket-version", "13", "index");
      } else if (extra !== undefined) encoder.field("content-length", extra, "name");
    },
    end,
    handler,
  );
}
let sequence = 0;

interface Load {
  done: number;
  failed: number;
  readonly latencies: number[] | undefined;
}

const IGNORE = { onEnd() {}, onCancel() {}, onWritable() {} };

/** One GET after another on one slot, until stopped. */
function slot(client: Http2ClientConnection, path: string, load: Load, running: () => boolean): void {
  let started = 0;
  let stream: Http2Stream | undefined;
  const next = (): void => {
    if (!running()) return;
    started = performance.now();
    stream = small(client, path, "GET", true, handler);
  };
  const handler: Http2StreamHandler = {
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

function pick(index: number): Http2ClientConnection {
  const connection = connections[index % connections.length];
  if (connection === undefined) throw new Error("no connection is registered");
  return connection.client;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

interface Window {
  readonly seconds: number;
  readonly cpuUs: number;
}

async function measured(pid: number, milliseconds: number, begin: () => void): Promise<Window> {
  const cpu = cpuMicroseconds(pid);
  const started = performance.now();
  begin();
  await sleep(milliseconds);
  return { seconds: (performance.now() - started) / 1000, cpuUs: cpuMicroseconds(pid) - cpu };
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
    let stream: Http2Stream | undefined;
    const next = (): void => {
      if (running) stream = small(client, "/big", "GET", true, handler);
    };
    const handler: Http2StreamHandler = {
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
  return { "ns/B": (window.cpuUs * 1000) / taken, "MB/s": taken / 1e6 / window.seconds, failed };
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
    let stream: Http2Stream | undefined;
    const pump = (): void => {
      while (left > 0 && stream !== undefined) {
        const chunk = left >= UPLOAD_CHUNK.length ? UPLOAD_CHUNK : UPLOAD_CHUNK.subarray(0, left);
        left -= chunk.length;
        if (!stream.write(chunk, left === 0)) return;
      }
    };
    const next = (): void => {
      if (!running) return;
      left = UPLOAD_BYTES;
      stream = small(client, "/upload", "POST", false, handler, String(UPLOAD_BYTES));
      pump();
    };
    const handler: Http2StreamHandler = {
      onData: (chunk) => stream?.consumed(chunk.length),
      onEnd: () => {
        bytes += UPLOAD_BYTES;
        next();
      },
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
  return { "ns/B": (window.cpuUs * 1000) / taken, "MB/s": taken / 1e6 / window.seconds, failed };
}

async function held(pid: number, count: number): Promise<Measurement> {
  let open = 0;
  let failed = 0;
  const streams: Http2Stream[] = [];
  // One plain request a connection first, so that what is loaded once is not counted.
  await gets(pid, 8, true, "/small", 0.2);
  await sleep(500);
  const before = residentKiB(pid);
  for (let i = 0; i < count; i++) {
    const stream: Http2Stream | undefined = small(pick(i), "/sse", "GET", true, {
      ...IGNORE,
      onData: (chunk) => {
        open++;
        stream?.consumed(chunk.length);
      },
      onCancel: () => {
        failed++;
      },
    });
    if (stream !== undefined) streams.push(stream);
    if (i % 100 === 99) await sleep(20);
  }
  for (let waited = 0; open < count && waited < 200; waited++) await sleep(50);
  await sleep(2000);
  const after = residentKiB(pid);
  for (const stream of streams) stream.reset(8);
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
  const streams: Http2Stream[] = [];
  for (let i = 0; i < 64; i++) {
    let pending = 0;
    const stream: Http2Stream | undefined = small(
      pick(i),
      "/ws",
      "GET",
      false,
      {
        ...IGNORE,
        onResponse: (head) => {
          if (head.status !== 200) failed++;
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
      "websocket",
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
  for (const stream of streams) stream.reset(8);
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

const authority = createAuthority();
const leaf = authority.issue({ dnsNames: ["h2.cftunnel.com"] });
const server = tls.createServer({ key: leaf.keyPem, cert: leaf.certPem }, accept);
server.on("tlsClientError", () => {});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (typeof address === "object" && address !== null) {
    process.send?.({ kind: "listening", port: address.port, cacert: authority.certPem });
  }
});

async function obey(command: Command): Promise<unknown> {
  if (command.kind === "forget") {
    registeredAt = [];
    return { kind: "forgotten" };
  }
  if (command.kind === "run") {
    return { kind: "measured", values: await SCENARIOS[command.scenario](command.pid, command.seconds) };
  }
  for (let waited = 0; registeredAt.length < command.connections && waited < 3000; waited++) await sleep(10);
  return { kind: "registered", at: registeredAt };
}

process.on("message", (command: Command) => {
  obey(command).then(
    (answer) => process.send?.(answer),
    (error: unknown) => process.send?.({ kind: "failed", message: String(error) }),
  );
});
process.on("disconnect", () => process.exit(0));
