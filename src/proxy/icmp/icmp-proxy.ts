/** ICMP packets of the edge (wire § 8): a TTL that is used up is answered here, an echo request goes through the system's `ping`. */
import { addressText } from "../../protocol/bytes/ip-address.ts";
import {
  IcmpType,
  type IcmpPacket,
  isIcmpError,
  readIcmpPacket,
  writeEchoReply,
  writeTimeExceeded,
} from "../../protocol/datagram/icmp-packet.ts";
import { MAX_ICMP_PACKET_BYTES } from "../../protocol/datagram/limits.ts";
import type { DatagramDropReason, DatagramObserver, Logger } from "../../types.ts";
import { EchoFlows, type IcmpReturn } from "./echo-flows.ts";
import { MAX_PENDING } from "./limits.ts";
import { SourceAddressFinder } from "./source-addresses.ts";
import { SystemPing, type SystemPingOptions } from "./system-ping.ts";

export interface IcmpOptions extends Partial<SystemPingOptions> {
  /** Of what the connector says as a router; default: found out when first needed. */
  readonly sourceV4?: string | undefined;
  readonly sourceV6?: string | undefined;
}

/** In `rest` of an echo: identifier and sequence number. */
const ECHO_HEADER_BYTES = 4;

export class IcmpProxy {
  readonly #observer: DatagramObserver;
  readonly #logger: Logger;
  readonly #ping: SystemPing;
  readonly #sources: SourceAddressFinder;
  readonly #flows = new EchoFlows();
  #abilities: Promise<Readonly<Record<4 | 6, boolean>>> | undefined;
  #pending = 0;
  #closed = false;

  constructor(options: IcmpOptions, observer: DatagramObserver, logger: Logger) {
    const { env = process.env, platform = process.platform, sourceV4, sourceV6 } = options;
    this.#ping = new SystemPing({ env, platform });
    this.#sources = new SourceAddressFinder({ v4: sourceV4, v6: sourceV6 });
    this.#observer = observer;
    this.#logger = logger;
  }

  /** A whole IP packet, as the edge sent it; the view is valid only during the call. */
  handle(packet: Buffer, back: IcmpReturn): void {
    if (this.#closed) return;
    const icmp = packet.length > MAX_ICMP_PACKET_BYTES ? undefined : readIcmpPacket(packet);
    if (icmp === undefined) this.#drop(back, "malformed");
    else if (!isServed(icmp)) this.#drop(back, "write_failed");
    else if (this.#pending >= MAX_PENDING) this.#drop(back, "write_full");
    else void this.#serve(Buffer.from(packet), back);
  }

  close(): void {
    this.#closed = true;
    this.#ping.close();
    this.#flows.close();
  }

  async #serve(packet: Buffer, back: IcmpReturn): Promise<void> {
    const icmp = readIcmpPacket(packet);
    if (icmp === undefined) return;
    this.#pending++;
    try {
      if (icmp.ttl <= 1) await this.#expired(icmp, packet, back);
      else await this.#echo(icmp, back);
    } catch (error) {
      this.#logger.error("Failed to answer an ICMP packet", { error });
    }
    this.#pending--;
  }

  async #expired(icmp: IcmpPacket, packet: Buffer, back: IcmpReturn): Promise<void> {
    const { v4, v6 } = await this.#sources.find();
    if (!this.#closed) back.send(writeTimeExceeded(icmp, packet, icmp.family === 4 ? v4 : v6));
  }

  async #echo(icmp: IcmpPacket, back: IcmpReturn): Promise<void> {
    const { destination, family, rest } = icmp;
    this.#abilities ??= this.#probe();
    const flow = this.#flows.use(icmp, back);
    const abilities = await this.#abilities;
    if (this.#closed) return;
    if (!abilities[family]) {
      this.#drop(back, "write_failed");
      return;
    }
    this.#observer.icmpRequest();
    const result = await this.#ping.ping(family, addressText(destination), rest.length - ECHO_HEADER_BYTES);
    if (result === "busy") this.#drop(back, "write_full");
    if (result !== "answered" || this.#closed) return;
    this.#observer.icmpReply();
    flow.back.send(writeEchoReply(icmp));
  }

  /** On first use, and never before: most tunnels carry no ICMP. */
  async #probe(): Promise<Readonly<Record<4 | 6, boolean>>> {
    const [v4, v6] = await Promise.all([this.#ping.probe(4), this.#ping.probe(6)]);
    if (this.#closed) return { 4: false, 6: false };
    if (v4 || v6) this.#logger.info("ICMP echo requests go through the system's ping", { ipv4: v4, ipv6: v6 });
    else this.#logger.info("ICMP echo requests are not answered: this machine has no ping that works");
    return { 4: v4, 6: v6 };
  }

  #drop({ connIndex }: IcmpReturn, reason: DatagramDropReason): void {
    this.#observer.icmpDropped(connIndex, reason);
  }
}

/** Echo requests to one machine, and whatever is not passed on but came to the end of its way here. */
function isServed(icmp: IcmpPacket): boolean {
  if (icmp.ttl <= 1) return !isIcmpError(icmp);
  return icmp.type === IcmpType[icmp.family].echoRequest && icmp.code === 0 && isUnicast(icmp);
}

/** A ping of a group, or of everybody, would be answered by many. */
function isUnicast({ family, destination }: IcmpPacket): boolean {
  const first = destination.readUInt8(0);
  if (family === 6) return first !== 0xff && destination.some((byte) => byte !== 0);
  return first !== 0 && first < 224;
}
