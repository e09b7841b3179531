/** What the log says of connections, in cloudflared's words where it has some: people and programs look for them. */
import type { LogFields, Logger } from "../types.ts";
import { EdgeDiscoveryError } from "../edge/errors.ts";
import type { ConnectionInfo } from "./api.ts";
import type { RetryPlan } from "./backoff.ts";
import type { RegisteredConnection } from "./connection.ts";
import type { Grievance } from "./slot-host.ts";

type Where = Pick<ConnectionInfo, "connIndex" | "edgeAddress">;

const OUTLIVED: Readonly<Record<Grievance, string>> = {
  "control-ended": "The edge ended the control stream: replacing the connection",
  "going-away": "The edge is going away: replacing the connection",
  silent: "The edge does not answer: replacing the connection",
};

export class ConnectionLog {
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  registering(connIndex: number, ip: string): void {
    this.#logger.debug("Registering tunnel connection", { connIndex, event: 0, ip });
  }

  registered({ edge, connectionId, location }: RegisteredConnection): void {
    const { connIndex, protocol, remoteAddress } = edge;
    this.#logger.info("Registered tunnel connection", {
      connIndex,
      connection: connectionId,
      event: 0,
      ip: ipOf(remoteAddress),
      location,
      protocol,
    });
    // What scripts written for other versions wait for.
    this.#logger.info("Connection registered", { connIndex, location });
  }

  refused(where: Where, error: Error): void {
    this.#logger.error("Register tunnel error from server side", failureFields(where, error));
  }

  outlived(connIndex: number, why: Grievance, error: Error | undefined): void {
    this.#logger.info(OUTLIVED[why], { connIndex, ...(error === undefined ? {} : { error: error.message }) });
  }

  recovered(connIndex: number): void {
    this.#logger.info("The edge answers again", { connIndex });
  }

  lost(connIndex: number, error: Error): void {
    this.#logger.info("Lost connection with the edge", { connIndex, error: error.message });
  }

  unregistered({ edge }: RegisteredConnection): void {
    const { connIndex, remoteAddress } = edge;
    this.#logger.info("Unregistered tunnel connection", { connIndex, event: 0, ip: ipOf(remoteAddress) });
  }

  /** `isDown`: no other connection serves. */
  retrying(where: Where, error: Error, plan: RetryPlan, isDown: boolean): void {
    const fields = failureFields(where, error);
    // Whoever looks for the edge's addresses tells of it, once.
    if (error instanceof EdgeDiscoveryError) {
      this.#logger.debug("Looking for the edge again", { ...fields, retryInMs: Math.round(plan.delayMs) });
    } else if (plan.kind === "restart") {
      this.#logger[isDown ? "error" : "warn"]("Serve tunnel error", { ...fields, retryInMs: Math.round(plan.delayMs) });
    } else this.#logger.warn(`Retrying connection in up to ${Math.ceil(plan.upToMs / 1000)}s`, fields);
  }

  /** How a connection fared that is gone. */
  ended({ connIndex, connectionId, protocol, edgeAddress, location, ...report }: ConnectionInfo): void {
    const { ageMs, requests, resets, roundTripMs } = report;
    this.#logger.debug("Connection ended", {
      connIndex,
      connection: connectionId,
      protocol,
      edgeAddress,
      location,
      ageMs,
      requests,
      resets,
      roundTripMs,
    });
  }

  tooFewAddresses(wanted: number, size: number, used: number): void {
    this.#logger.info(`You requested ${wanted} HA connections but the edge has ${size} addresses: using ${used}`);
  }
}

function failureFields({ connIndex, edgeAddress }: Where, error: Error): LogFields {
  return { connIndex, event: 0, ip: edgeAddress === undefined ? "" : ipOf(edgeAddress), error: error.message };
}

function ipOf(address: string): string {
  return address.slice(0, address.lastIndexOf(":")).replace(/^\[|\]$/g, "");
}
