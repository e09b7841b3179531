/** What is measured of one path, and says nothing of another (RFC 9000 § 9.4). */
import { type CongestionAlgorithm, CongestionController } from "./congestion-controller.ts";
import { LatePackets } from "./late-packets.ts";
import { Pacer } from "./pacer.ts";
import { PathMtu, type PathMtuOptions } from "./path-mtu.ts";
import { RoundTripTime } from "./round-trip-time.ts";

export class PathState {
  readonly rtt = new RoundTripTime();
  readonly late = new LatePackets();
  readonly mtu: PathMtu;
  readonly congestion: CongestionController;
  readonly pacer: Pacer;

  constructor(algorithm: CongestionAlgorithm, mtu: PathMtuOptions = {}) {
    this.mtu = new PathMtu(mtu);
    this.congestion = new CongestionController(algorithm, this.mtu.current);
    this.pacer = new Pacer(this.mtu.current);
  }
}
