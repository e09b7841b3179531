/** The edge's side of UDP sessions and ICMP on one QUIC connection (wire §§ 6 to 8), in the version that the connector registered with. */
import { randomUUID } from "node:crypto";
import { parseSessionId } from "../protocol/datagram/session-id.ts";
import { readDatagramV2, writePacketV2, writeUdpV2 } from "../protocol/datagram/v2.ts";
import {
  type DatagramV3,
  readDatagramV3,
  ResponseCode,
  writePacketV3,
  writePayloadV3,
  writeRegistration,
} from "../protocol/datagram/v3.ts";
import { createCloudflaredClient } from "../rpc/cloudflared-client.ts";
import { serveSessions } from "../rpc/session-server.ts";
import type { ByteChannel, DatagramChannel } from "../types.ts";
import type { Carrier } from "./carrier.ts";
import { UdpSession } from "./udp-session.ts";
import { MockEdgeError } from "./visits.ts";

const CALL_TIMEOUT_MS = 5_000;

/** A registration of version 3 may be lost, and its answer. */
const REGISTRATION_REPEAT_MS = 500;

export interface UdpSessionOptions {
  /** Default: the connector's own, 210 s. */
  readonly idleMs?: number;
  /** Sent together with the registration; version 3 only. */
  readonly payload?: Uint8Array;
}

type Response = Extract<DatagramV3, { kind: "response" }>;

export class PrivateNetwork {
  readonly version: 2 | 3;
  readonly #carrier: Pick<Carrier, "openRpc">;
  readonly #channel: DatagramChannel;
  readonly #sessions = new Map<string, UdpSession>();
  readonly #registering = new Map<string, (response: Response) => void>();
  readonly #packetTakers = new Set<(packet: Buffer) => void>();

  constructor(carrier: Carrier, channel: DatagramChannel, version: 2 | 3) {
    this.version = version;
    this.#carrier = carrier;
    this.#channel = channel;
    channel.onDatagram = (bytes) => this.#receive(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    carrier.onRpc = (rpc) => this.#serve(rpc);
  }

  /** Rejects with MockEdgeError where the connector refuses. */
  async openUdpSession(ip: string, port: number, options: UdpSessionOptions): Promise<UdpSession> {
    const id = randomUUID();
    const key = parseSessionId(id) ?? "";
    const session =
      this.version === 2
        ? new UdpSession(
            id,
            2,
            (payload) => this.#channel.send(writeUdpV2(key, payload)),
            () => this.#unregister(id, key),
          )
        : new UdpSession(
            id,
            3,
            (payload) => this.#channel.send(writePayloadV3(key, payload)),
            () => this.#forget(key),
          );
    this.#sessions.set(key, session);
    try {
      await (this.version === 2 ? this.#registerV2(id, ip, port, options) : this.#registerV3(key, ip, port, options));
    } catch (error) {
      this.#sessions.delete(key);
      throw error;
    }
    return session;
  }

  /** Sends a whole IP packet; resolves with the first that comes back and satisfies `isAnswer`. */
  exchangePacket(packet: Uint8Array, isAnswer: (packet: Buffer) => boolean, timeoutMs: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#packetTakers.delete(take);
      };
      const take = (answer: Buffer): void => {
        if (!isAnswer(answer)) return;
        done();
        resolve(Buffer.from(answer));
      };
      const timer = setTimeout(() => {
        done();
        reject(new MockEdgeError(`no ICMP packet came back within ${timeoutMs} ms`));
      }, timeoutMs);
      this.#packetTakers.add(take);
      this.#channel.send(this.version === 2 ? writePacketV2(packet) : writePacketV3(packet));
    });
  }

  /** The connection is gone. */
  close(): void {
    for (const session of this.#sessions.values()) session.over("the connection is gone");
    this.#sessions.clear();
  }

  #receive(datagram: Buffer): void {
    if (this.version === 2) {
      const message = readDatagramV2(datagram);
      if (message.kind === "udp") this.#sessions.get(message.sessionId)?.deliver(message.payload);
      else if (message.kind === "ip") this.#offer(message.packet);
      return;
    }
    const message = readDatagramV3(datagram);
    if (message.kind === "payload") this.#sessions.get(message.requestId)?.deliver(message.payload);
    else if (message.kind === "icmp") this.#offer(message.packet);
    else if (message.kind === "response") this.#registering.get(message.requestId)?.(message);
  }

  #offer(packet: Buffer): void {
    for (const take of this.#packetTakers) take(packet);
  }

  #serve(rpc: ByteChannel): void {
    serveSessions(rpc, {
      unregisterUdpSession: (sessionId, message) => {
        const key = parseSessionId(sessionId) ?? "";
        this.#sessions.get(key)?.over(message);
        this.#sessions.delete(key);
      },
    });
  }

  async #registerV2(
    sessionId: string,
    dstIp: string,
    dstPort: number,
    { idleMs = 0 }: UdpSessionOptions,
  ): Promise<void> {
    const request = { sessionId, dstIp, dstPort, closeAfterIdleMs: idleMs, traceContext: "" };
    const { error } = await this.#call((client) => client.registerUdpSession(request, { timeoutMs: CALL_TIMEOUT_MS }));
    if (error !== undefined) throw new MockEdgeError(`the connector refused the UDP session: ${error}`);
  }

  async #unregister(id: string, key: string): Promise<void> {
    this.#sessions.delete(key);
    await this.#call((client) =>
      client.unregisterUdpSession(id, "the edge closed the session", { timeoutMs: CALL_TIMEOUT_MS }),
    );
  }

  async #call<T>(make: (client: ReturnType<typeof createCloudflaredClient>) => Promise<T>): Promise<T> {
    const channel = this.#carrier.openRpc();
    if (channel === undefined) throw new MockEdgeError("the connection takes no further stream");
    const client = createCloudflaredClient(channel);
    try {
      return await make(client);
    } finally {
      client.close();
    }
  }

  async #registerV3(
    key: string,
    address: string,
    port: number,
    { idleMs = 0, payload }: UdpSessionOptions,
  ): Promise<void> {
    const registration = writeRegistration({
      requestId: key,
      address,
      port,
      idleSeconds: Math.ceil(idleMs / 1_000),
      traced: false,
      payload: payload === undefined ? undefined : Buffer.from(payload),
    });
    let repeat: NodeJS.Timeout | undefined;
    let limit: NodeJS.Timeout | undefined;
    try {
      const { code, text } = await new Promise<Response>((resolve, reject) => {
        this.#registering.set(key, resolve);
        this.#channel.send(registration);
        repeat = setInterval(() => this.#channel.send(registration), REGISTRATION_REPEAT_MS);
        limit = setTimeout(
          () => reject(new MockEdgeError(`the connector did not answer the registration within ${CALL_TIMEOUT_MS} ms`)),
          CALL_TIMEOUT_MS,
        );
      });
      if (code !== ResponseCode.ok) {
        throw new MockEdgeError(`the connector refused the UDP session: code ${code}${text === "" ? "" : `: ${text}`}`);
      }
    } finally {
      clearInterval(repeat);
      clearTimeout(limit);
      this.#registering.delete(key);
    }
  }

  #forget(key: string): Promise<void> {
    this.#sessions.delete(key);
    return Promise.resolve();
  }
}
