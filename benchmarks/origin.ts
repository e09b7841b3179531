/**
 * The origin of the benchmarks, in its own process: answers fixed bytes on keep-alive connections and parses no more
 * than it must, so that it is never what is measured. Prints its port to the parent over IPC.
 */
import { createHash } from "node:crypto";
import net from "node:net";

const SMALL = Buffer.from(
  `HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 00:00:00 GMT\r\nServer: bench\r\nContent-Type: text/html; charset=utf-8\r\n` +
    `Cache-Control: max-age=60\r\nEtag: "33a64df5"\r\nVary: Accept-Encoding\r\nX-Frame-Options: DENY\r\nContent-Length: 200\r\n\r\n` +
    "x".repeat(200),
  "latin1",
);
const BIG_BYTES = 10_000_000;
const BIG_HEAD = Buffer.from(
  `HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: ${BIG_BYTES}\r\n\r\n`,
);
const BIG_CHUNK = Buffer.alloc(64 * 1024, 0x61);
const UPLOADED = Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
const SSE = Buffer.from(
  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n",
);

function sendBig(socket: net.Socket): void {
  let left = BIG_BYTES;
  const pump = (): void => {
    while (left > 0) {
      const chunk = left >= BIG_CHUNK.length ? BIG_CHUNK : BIG_CHUNK.subarray(0, left);
      left -= chunk.length;
      if (!socket.write(chunk)) {
        socket.once("drain", pump);
        return;
      }
    }
  };
  socket.write(BIG_HEAD);
  pump();
}

function accept(head: string): Buffer {
  const key = /sec-websocket-key: *(\S+)/i.exec(head)?.[1] ?? "";
  const digest = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  return Buffer.from(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${digest}\r\n\r\n`,
  );
}

const server = net.createServer({ noDelay: true }, (socket) => {
  let head = "";
  let uploadLeft = 0;
  let echo = false;
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk) => {
    if (echo) {
      // The client's frames are masked; an echo of the raw bytes is all that a splice needs to be measured.
      socket.write(chunk);
      return;
    }
    let bytes = chunk;
    while (bytes.length > 0) {
      if (uploadLeft > 0) {
        const taken = Math.min(uploadLeft, bytes.length);
        uploadLeft -= taken;
        bytes = bytes.subarray(taken);
        if (uploadLeft === 0) socket.write(UPLOADED);
        continue;
      }
      const end = bytes.indexOf("\r\n\r\n");
      if (end < 0) {
        head += bytes.toString("latin1");
        return;
      }
      head += bytes.toString("latin1", 0, end);
      bytes = bytes.subarray(end + 4);
      const request = head;
      head = "";
      if (request.startsWith("GET /small")) socket.write(SMALL);
      else if (request.startsWith("GET /big")) sendBig(socket);
      else if (request.startsWith("GET /sse")) socket.write(SSE);
      else if (request.startsWith("POST /upload")) {
        uploadLeft = Number(/content-length: *(\d+)/i.exec(request)?.[1] ?? 0);
      } else if (request.startsWith("GET /ws")) {
        echo = true;
        socket.write(accept(request));
      } else socket.write("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    }
  });
});

server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (typeof address === "object" && address !== null) process.send?.({ port: address.port });
});
process.on("disconnect", () => process.exit(0));
