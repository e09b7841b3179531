/**
 * The floor of a QUIC packet's price in Node.js, on the machine of the day: one AEAD operation, one header mask and one datagram, and
 * nothing else. Forked twice, as sender and as receiver, so that each process's CPU time is one direction's.
 */
import { type ChildProcess, fork } from "node:child_process";
import { createCipheriv, createDecipheriv, createSecretKey, randomBytes } from "node:crypto";
import dgram from "node:dgram";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const PAYLOAD_BYTES = 1_400;
const BURST = 32;
const SECONDS = 1.5;

interface Figures {
  readonly packets: number;
  readonly cpuUs: number;
}

function sealer() {
  const key = createSecretKey(randomBytes(16));
  const mask = createCipheriv("aes-128-ecb", randomBytes(16), null);
  const iv = randomBytes(12);
  const payload = randomBytes(PAYLOAD_BYTES);
  const header = randomBytes(12);
  return {
    seal(): Buffer {
      const cipher = createCipheriv("aes-128-gcm", key, iv);
      cipher.setAAD(header);
      const packet = Buffer.allocUnsafe(header.length + PAYLOAD_BYTES + 16);
      header.copy(packet);
      cipher.update(payload).copy(packet, header.length);
      cipher.final();
      cipher.getAuthTag().copy(packet, header.length + PAYLOAD_BYTES);
      mask.update(packet.subarray(16, 32));
      return packet;
    },
    /** What it costs to open, whether or not the keys fit. */
    open(packet: Buffer): void {
      mask.update(packet.subarray(16, 32));
      const decipher = createDecipheriv("aes-128-gcm", key, iv);
      decipher.setAAD(packet.subarray(0, 12));
      decipher.setAuthTag(packet.subarray(packet.length - 16));
      decipher.update(packet.subarray(12, packet.length - 16));
    },
  };
}

async function send(port: number): Promise<Figures> {
  const socket = dgram.createSocket("udp4");
  socket.connect(port, "127.0.0.1");
  await once(socket, "connect");
  const packetSealer = sealer();
  const before = process.cpuUsage();
  const until = performance.now() + SECONDS * 1000;
  let packets = 0;
  while (performance.now() < until) {
    const burst = Array.from({ length: BURST }, () => packetSealer.seal());
    for (const packet of burst) socket.send(packet);
    packets += BURST;
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { user, system } = process.cpuUsage(before);
  socket.close();
  return { packets, cpuUs: user + system };
}

async function receive(): Promise<void> {
  const socket = dgram.createSocket({ type: "udp4", recvBufferSize: 4 << 20 });
  const packetSealer = sealer();
  let packets = 0;
  let before: NodeJS.CpuUsage | undefined;
  socket.on("message", (packet) => {
    before ??= process.cpuUsage();
    packetSealer.open(packet);
    packets++;
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  process.send?.(socket.address().port);
  process.once("message", () => {
    const { user, system } = process.cpuUsage(before);
    process.send?.({ packets, cpuUs: user + system } satisfies Figures);
    process.disconnect();
    socket.close();
  });
}

async function answer<T>(child: ChildProcess): Promise<T> {
  const [value] = (await once(child, "message")) as [T];
  return value;
}

/** Microseconds of CPU a packet. */
export async function barePackets(): Promise<{ readonly send: number; readonly receive: number }> {
  const self = fileURLToPath(import.meta.url);
  const receiver = fork(self, ["receive"]);
  const port = await answer<number>(receiver);
  const sent = await answer<Figures>(fork(self, ["send", String(port)]));
  receiver.send("done");
  const received = await answer<Figures>(receiver);
  return { send: sent.cpuUs / sent.packets, receive: received.cpuUs / received.packets };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv[2] === "receive") await receive();
  else {
    process.send?.(await send(Number(process.argv[3])));
    process.disconnect();
  }
}
