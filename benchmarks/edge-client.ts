/** What the load needs of a connector's connection, whatever carries it. */
export interface ClientStream {
  /** False = pause until onWritable. */
  write(chunk: Buffer, last: boolean): boolean;
  consumed(bytes: number): void;
  reset(): void;
}

export interface ClientStreamHandler {
  onResponse?(head: { readonly status: number }): void;
  onData(chunk: Buffer): void;
  onEnd(): void;
  onCancel(): void;
  onWritable(): void;
}

export interface ClientRequest {
  readonly method: string;
  readonly path: string;
  /** No body follows. */
  readonly end: boolean;
  /** Of the body; for a WebSocket nothing. */
  readonly length?: number;
  readonly websocket?: boolean;
}

export interface EdgeClient {
  request(request: ClientRequest, handler: ClientStreamHandler): ClientStream | undefined;
}

/** What becomes of connections. */
export interface EdgeEvents {
  registered(client: EdgeClient): void;
  gone(client: EdgeClient): void;
}

export const HOST = "bench.example.com";

/** The first ones never change; two are new with each request, as with the real edge. */
export const FIXED_FIELDS: readonly (readonly [string, string])[] = [
  ["user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36"],
  ["accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
  ["accept-encoding", "gzip, br"],
  ["accept-language", "en-GB,en;q=0.9"],
  ["cache-control", "max-age=0"],
  ["cdn-loop", "cloudflare; loops=1"],
  ["cf-connecting-ip", "203.0.113.7"],
  ["cf-ipcountry", "GB"],
  ["cf-visitor", '{"scheme":"https"}'],
  ["x-forwarded-for", "203.0.113.7"],
  ["x-forwarded-proto", "https"],
];

let sequence = 0;

export function nextRay(): string {
  sequence = (sequence + 1) >>> 0;
  return `${(0x100000000 + sequence).toString(16)}9b7f-LHR`;
}
