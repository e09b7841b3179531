/** Visitors of the public listener, so many a second, who each know what they are to get. */
import { randomBytes } from "node:crypto";
import http from "node:http";
import { WebSocket } from "ws";
import { download, EVENTS, hashOf } from "./origin.ts";

/** Of forty visitors in a row. */
const MIX = [
  ...Array.from({ length: 18 }, () => "get" as const),
  ...Array.from({ length: 8 }, () => "download" as const),
  ...Array.from({ length: 8 }, () => "upload" as const),
  ...Array.from({ length: 4 }, () => "slow" as const),
  "events" as const,
  "websocket" as const,
];

export type Kind = (typeof MIX)[number];

/** `status`: the edge's or the tunnel's own page; `broken`: the answer did not come whole; `wrong`: it came whole, and is not what was asked for. */
export interface Failure {
  readonly kind: "status" | "broken" | "wrong";
  readonly detail: string;
}

interface Answer {
  readonly status: number;
  readonly body: Buffer;
}

const UPLOAD_BYTES = 16 * 1024;
const MESSAGES = 4;
const MESSAGE_MS = 250;
const TICK_MS = 25;
/** Of a tick that comes late: what the machine could not do is not caught up with all at once. */
const MAX_AT_ONCE = 50;

function exchange(url: string, body?: Buffer): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options: http.RequestOptions = {
      agent: false,
      method: body === undefined ? "GET" : "POST",
      headers: body === undefined ? {} : { "content-length": body.length },
    };
    const request = http.request(url, options, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

async function expectBody(asked: Promise<Answer>, expected: Buffer): Promise<Failure | undefined> {
  const { body, status } = await asked;
  if (status !== 200) return { kind: "status", detail: String(status) };
  return body.equals(expected) ? undefined : { kind: "wrong", detail: `${body.length} bytes` };
}

function talk(url: string): Promise<Failure | undefined> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url.replace("http:", "ws:"), { perMessageDeflate: false });
    let echoed = 0;
    socket.on("unexpected-response", (request, response) => {
      response.resume();
      request.destroy();
      resolve({ kind: "status", detail: String(response.statusCode) });
    });
    socket.on("open", () => socket.send("0"));
    socket.on("message", (data) => {
      if ((data as Buffer).toString() !== String(echoed)) {
        resolve({ kind: "wrong", detail: "another message" });
        socket.terminate();
      } else if (++echoed === MESSAGES) socket.close(1000);
      else setTimeout(() => socket.readyState === WebSocket.OPEN && socket.send(String(echoed)), MESSAGE_MS);
    });
    socket.on("error", reject);
    socket.on("close", (code) => {
      if (code === 1000 && echoed === MESSAGES) resolve(undefined);
      else reject(new Error(`closed with ${code} after ${echoed} messages`));
    });
  });
}

function visit(publicUrl: string, kind: Kind, id: number): Promise<Failure | undefined> {
  const url = (path: string): string => `${publicUrl}/${path}?id=${id}`;
  switch (kind) {
    case "get":
      return expectBody(exchange(url("get")), Buffer.from(String(id)));
    case "slow":
      return expectBody(exchange(`${url("slow")}&ms=${(id * 37) % 2_000}`), Buffer.from(String(id)));
    case "download":
      return expectBody(exchange(url("download")), download(String(id)));
    case "upload": {
      const body = randomBytes(UPLOAD_BYTES);
      return expectBody(exchange(url("upload"), body), Buffer.from(hashOf(body)));
    }
    case "events": {
      const events = Array.from({ length: EVENTS }, (_, index) => `data: ${index + 1}\n\n`).join("");
      return expectBody(exchange(url("events")), Buffer.from(events));
    }
    default:
      return talk(url("socket"));
  }
}

export interface Visitors {
  /** Under way. */
  readonly active: number;
  /** No new ones; resolves when none is under way. */
  stop(): Promise<void>;
}

export interface VisitorsOptions {
  readonly publicUrl: string;
  readonly perSecond: number;
  readonly firstId: number;
  onStart(id: number, kind: Kind): void;
  onEnd(id: number, failure: Failure | undefined): void;
}

export function startVisitors(options: VisitorsOptions): Visitors {
  let id = options.firstId;
  let due = 0;
  let active = 0;
  let last = performance.now();
  let onIdle: (() => void) | undefined;
  const start = (): void => {
    const own = id++;
    const kind = MIX[(own * 7) % MIX.length] ?? "get";
    active++;
    options.onStart(own, kind);
    void visit(options.publicUrl, kind, own)
      .catch((error: unknown): Failure => ({ kind: "broken", detail: String(error) }))
      .then((failure) => {
        active--;
        options.onEnd(own, failure);
        if (active === 0) onIdle?.();
      });
  };
  const timer = setInterval(() => {
    const now = performance.now();
    due = Math.min(due + ((now - last) * options.perSecond) / 1_000, MAX_AT_ONCE);
    last = now;
    for (; due >= 1; due--) start();
  }, TICK_MS);
  return {
    get active() {
      return active;
    },
    async stop() {
      clearInterval(timer);
      if (active > 0) await new Promise<void>((resolve) => (onIdle = resolve));
    },
  };
}
