/** What is remembered of a packet until it is acknowledged or lost: one flat record, which loss detection, streams and the rest share. */
import type { PacketNumberSpace } from "../packet-number.ts";
import type { SentPacket } from "../recovery/recovery.ts";
import { SentFrames } from "../streams/sent-frames.ts";
import type { ControlSent } from "./control-frames.ts";

export class PacketRecord extends SentFrames implements SentPacket {
  readonly packetNumber: number;
  readonly space: PacketNumberSpace;
  readonly sentAt: number;
  size = 0;
  ackEliciting = false;
  inFlight = false;
  probe: "none" | "pto" | "mtu" = "none";
  /** The largest number that its ACK frame named; -1 = it had none. */
  ackLargest = -1;
  control: ControlSent | undefined = undefined;

  constructor(space: PacketNumberSpace, packetNumber: number, sentAt: number) {
    super();
    this.space = space;
    this.packetNumber = packetNumber;
    this.sentAt = sentAt;
  }
}
