/** A log stream on a WebSocket, with the clock and the timers that it wants. */
import { performance } from "node:perf_hooks";
import type { RawData, WebSocket } from "ws";
import { BUFFERED_BYTES, CLOSE_MS } from "./limits.ts";
import type { LogStream, LogStreamPeer } from "./log-stream.ts";

export function serveLogs(ws: WebSocket, open: (peer: LogStreamPeer, now: number) => LogStream): void {
  const sent = (): void => {
    if (ws.readyState === ws.OPEN) stream.writable(new Date().toISOString());
  };
  const peer: LogStreamPeer = {
    get blocked() {
      return ws.bufferedAmount > BUFFERED_BYTES;
    },
    send: (text) => ws.send(text, sent),
    ping: () => ws.ping(),
    close(code, reason) {
      ws.close(code, reason);
      // A client that never reads does not see the close frame either.
      setTimeout(() => ws.terminate(), CLOSE_MS).unref();
    },
    terminate: () => ws.terminate(),
  };
  const stream = open(peer, performance.now());
  let timer: NodeJS.Timeout | undefined;
  const schedule = (): void => {
    clearTimeout(timer);
    const { deadline } = stream;
    if (deadline === undefined) return;
    timer = setTimeout(tick, Math.max(0, Math.ceil(deadline - performance.now()))).unref();
  };
  const tick = (): void => {
    stream.tick(performance.now());
    schedule();
  };
  ws.on("message", (data, isBinary) => {
    stream.message(isBinary ? undefined : textOf(data), performance.now());
    schedule();
  });
  ws.on("pong", () => stream.pong());
  ws.on("error", () => ws.terminate());
  ws.on("close", () => {
    clearTimeout(timer);
    stream.ended();
  });
  schedule();
}

/** Of a message of text. */
export function textOf(data: RawData): string {
  if (Array.isArray(data)) return Buffer.concat(data).toString("utf8");
  return (data instanceof ArrayBuffer ? Buffer.from(data) : data).toString("utf8");
}
