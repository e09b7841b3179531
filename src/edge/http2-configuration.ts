/** A configuration push on the HTTP/2 transport (wire § 4.8): `{"version":<int32>,"config":<json>}` in, a JSON answer out. */
import type { ConfigurationUpdate, EdgeStream, StreamSink } from "../types.ts";

/** A remote configuration is some hundred KiB at most; the stream itself is authenticated, so this only bounds a mistake. */
const MAX_CONFIGURATION_BYTES = 16 * 1024 * 1024;

function isInt32(value: unknown): value is number {
  return typeof value === "number" && (value | 0) === value;
}

/** As Go reads it: what is not there, or null, is 0. */
function parseEnvelope(body: Buffer): { version: number; config: unknown } | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString("utf8"));
  } catch {
    return undefined;
  }
  if (typeof parsed !== "object" || Array.isArray(parsed)) return undefined;
  const { config, version } = (parsed ?? {}) as { readonly config?: unknown; readonly version?: unknown };
  return isInt32(version ?? 0) ? { version: Number(version ?? 0), config } : undefined;
}

export function receiveConfiguration(stream: EdgeStream, onUpdate: (update: ConfigurationUpdate) => void): void {
  const chunks: Buffer[] = [];
  let length = 0;
  const finish = (): void => {
    const envelope = parseEnvelope(Buffer.concat(chunks));
    if (envelope === undefined) {
      stream.abort();
      return;
    }
    onUpdate({
      kind: "configuration",
      ...envelope,
      reply(lastAppliedVersion, error) {
        // The reference sends an opaque object for `err`; text is of more use, and any non-null counts as failure (wire § 14 D10).
        const answer = Buffer.from(JSON.stringify({ lastAppliedVersion, err: error ?? null }));
        stream.respond({ status: 200, headers: [], contentLength: answer.length, source: "to-edge" }, false);
        stream.write(answer, true);
      },
    });
  };
  const sink: StreamSink = {
    onData(chunk) {
      length += chunk.length;
      if (length > MAX_CONFIGURATION_BYTES) {
        chunks.length = 0;
        stream.abort();
        return;
      }
      chunks.push(Buffer.from(chunk));
      stream.consumed(chunk.length);
    },
    onEnd: () => {
      if (length <= MAX_CONFIGURATION_BYTES) finish();
    },
    onCancel() {},
    onWritable() {},
  };
  stream.sink = sink;
  if (stream.bodyless) finish();
}
