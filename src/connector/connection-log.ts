/** What the log says of connections, in cloudflared's words where it has some: people and programs look for them. */
import type { Logger } from "../types.ts";
import type { ConnectionInfo } from "./api.ts";
import type { RetryPlan } from "./backoff.ts";
import type { RegisteredConnection } from "./connection.ts";
import type { Grievance } from "./slot-host.ts";

type Where = Pick<ConnectionInfo, "connIndex" | "edgeAddress">;

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

  refused({ connIndex, edgeAddress }: Where, error: Error): void {
    this.#logger.error("Register tunnel error from server side", {
      connIndex,
      event: 0,
      ip: ipOf(edgeAddress),
      error: error.message,
    });
  }

  outlived(connIndex: number, why: Grievance, error: Error | undefined): void {
    const fields = { connIndex, ...(error === undefined ? {} : { error: error.message }) };
    switch (why) {
      case "control-ended":
        this.#logger.info("The edge ended the control stream: replacing the connection", fields);
        break;
      case "going-away":
        this.#logger.info("The edge is going away: replacing the connection", fields);
        break;
      case "silent":
        this.#logger.info("The edge does not answer: replacing the connection", fields);
        break;
    }
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
  retrying({ connIndex, edgeAddress }: Where, { message }: Error, plan: RetryPlan, isDown: boolean): void {
    const ip = ipOf(edgeAddress);
    if (plan.kind === "retry") {
      const seconds = Math.ceil(plan.upToMs / 1000);
      this.#logger.warn(`Retrying connection in up to ${seconds}s`, { connIndex, event: 0, ip, error: message });
      return;
    }
    const retryInMs = Math.round(plan.delayMs);
    this.#logger[isDown ? "error" : "warn"]("Serve tunnel error", {
      connIndex,
      event: 0,
      ip,
      error: message,
      retryInMs,
    });
  }

  /** Whoever looks for the edge's addresses tells what is wrong, once. */
  lookingAgain(connIndex: number, plan: RetryPlan): void {
    this.#logger.debug("Looking for the edge again", { connIndex, retryInMs: Math.round(plan.delayMs) });
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

function ipOf(address = ""): string {
  return address.slice(0, Math.max(0, address.lastIndexOf(":"))).replace(/^\[|\]$/g, "");
}
