/** A UDP relay on loopback that loses, repeats and delays datagrams of both directions, the same ones for a seed. */
import dgram from "node:dgram";

export interface RelayOptions {
  readonly seed: number;
  /** Share of the datagrams, 0 to 1. */
  readonly loss: number;
  readonly duplicate?: number;
  readonly reorder?: number;
  /** Each way, in milliseconds. */
  readonly delay?: number;
}

export interface Relay {
  readonly port: number;
  readonly dropped: number;
  close(): void;
}

/** mulberry32 */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function bound(): Promise<dgram.Socket> {
  const socket = dgram.createSocket({ type: "udp4", recvBufferSize: 4 << 20 });
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  return socket;
}

/** For one client at a time: its address is where the last datagram that did not come from `serverPort` came from. */
export async function startRelay(serverPort: number, options: RelayOptions): Promise<Relay> {
  const { loss, duplicate = 0, reorder = 0, delay = 0 } = options;
  const next = random(options.seed);
  const [front, back] = await Promise.all([bound(), bound()]);
  let clientPort = 0;
  let dropped = 0;
  let closed = false;
  const pass = (socket: dgram.Socket, datagram: Buffer, port: number): void => {
    if (next() < loss) {
      dropped++;
      return;
    }
    const copies = next() < duplicate ? 2 : 1;
    const late = next() < reorder ? 5 + 20 * next() : 0;
    const send = (): void => {
      if (closed) return;
      for (let i = 0; i < copies; i++) socket.send(datagram, port, "127.0.0.1");
    };
    if (delay + late === 0) send();
    else setTimeout(send, delay + late);
  };
  front.on("message", (datagram, { port }) => {
    clientPort = port;
    pass(back, datagram, serverPort);
  });
  back.on("message", (datagram) => pass(front, datagram, clientPort));
  return {
    port: front.address().port,
    get dropped() {
      return dropped;
    },
    close() {
      closed = true;
      front.close();
      back.close();
    },
  };
}
