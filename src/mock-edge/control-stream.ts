/** The control stream as a byte channel (wire § 4.9): the connector speaks Cap'n Proto RPC on it, as the client. */
import { ErrorCode, type Http2ClientConnection, type Http2Stream } from "../protocol/http2/types.ts";
import type { ByteChannel } from "../types.ts";
import type { ControlStream } from "./carrier.ts";

/** Opens it; `onEnd` is called once, when the connector has ended its side or the stream is gone. */
export function openControlStream(
  client: Http2ClientConnection,
  authority: string,
  onEnd: () => void,
): ControlStream | undefined {
  let ended = false;
  let stream: Http2Stream | undefined;
  const finish = (error?: Error): void => {
    if (ended) return;
    ended = true;
    channel.onEnd(error);
    onEnd();
  };
  const channel: ByteChannel = {
    onData() {},
    onEnd() {},
    write: (bytes) => void stream?.write(Buffer.from(bytes), false),
    end: () => stream?.end(),
  };
  stream = client.request(
    (encoder) => {
      encoder.pseudo("GET", "https", authority, "/");
      encoder.field("cf-cloudflared-proxy-connection-upgrade", "control-stream", "name");
    },
    false,
    {
      onData(chunk) {
        stream?.consumed(chunk.length);
        if (!ended) channel.onData(chunk);
      },
      onEnd: () => finish(),
      onCancel(cancel) {
        stream?.release();
        finish(new Error(`the control stream is gone: ${cancel.kind}`));
      },
      onWritable() {},
    },
  );
  if (stream === undefined) return undefined;
  const opened = stream;
  return {
    channel,
    end: () => opened.end(),
    reset(code = ErrorCode.CANCEL) {
      opened.reset(code);
      finish(new Error("the control stream was reset"));
    },
  };
}
