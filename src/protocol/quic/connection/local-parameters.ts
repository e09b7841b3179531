/** What we announce to the peer, but for the ids (wire § 5.1; the design's windows). */
import {
  CONNECTION_WINDOW,
  DEFAULT_MAX_STREAMS,
  INITIAL_STREAM_WINDOW,
  MAX_UDP_PAYLOAD_SIZE,
  OUR_ACTIVE_CONNECTION_IDS,
  OUR_MAX_ACK_DELAY,
} from "../limits.ts";
import { DEFAULT_TRANSPORT_PARAMETERS, type TransportParameters } from "../transport-parameters.ts";
import type { ConnectionOptions } from "./options.ts";

export function localParameters(options: ConnectionOptions, ids: Partial<TransportParameters>): TransportParameters {
  return {
    ...DEFAULT_TRANSPORT_PARAMETERS,
    maxIdleTimeout: options.maxIdleTimeout ?? 0,
    maxUdpPayloadSize: MAX_UDP_PAYLOAD_SIZE,
    initialMaxData: CONNECTION_WINDOW,
    initialMaxStreamDataBidiLocal: INITIAL_STREAM_WINDOW,
    initialMaxStreamDataBidiRemote: INITIAL_STREAM_WINDOW,
    initialMaxStreamDataUni: INITIAL_STREAM_WINDOW,
    initialMaxStreamsBidi: options.maxStreamsBidi ?? DEFAULT_MAX_STREAMS,
    initialMaxStreamsUni: options.maxStreamsUni ?? DEFAULT_MAX_STREAMS,
    maxAckDelay: OUR_MAX_ACK_DELAY,
    disableActiveMigration: true,
    activeConnectionIdLimit: OUR_ACTIVE_CONNECTION_IDS,
    maxDatagramFrameSize: options.maxDatagramFrameSize ?? 0,
    ...ids,
  };
}
