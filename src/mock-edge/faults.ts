/** What a mock edge can be told to do wrong, and for whom. */
import type { Duplex } from "node:stream";
import type { ByteChannel } from "../types.ts";

/** When the connector's TCP connection has come. */
export type AcceptFault =
  /** Closes it before any TLS. */
  | { readonly kind: "close-at-accept" }
  /** Keeps it without reading or writing a byte. */
  | { readonly kind: "hold-at-accept" };

/** When the TLS handshake is done. */
export type HandshakeFault =
  /** Not a byte follows. */
  | { readonly kind: "no-preface" }
  /** The caller speaks instead of the edge. */
  | { readonly kind: "raw"; readonly serve: (socket: Duplex) => void };

/** In the place of the control stream. */
export type ControlFault =
  /** Never opens it. */
  | { readonly kind: "no-control-stream" }
  /** Sends these bytes instead of Cap'n Proto; by default 64 times 0xff. */
  | { readonly kind: "malformed"; readonly bytes?: Uint8Array }
  /** The caller speaks on it instead of the edge. */
  | { readonly kind: "control"; readonly serve: (channel: ByteChannel) => void };

/** In answer to registerConnection. */
export type RegistrationFault =
  | { readonly kind: "refuse"; readonly cause: string; readonly shouldRetry?: boolean; readonly retryAfterMs?: number }
  /** `EDUPCONN`. */
  | { readonly kind: "duplicate" }
  | { readonly kind: "exception"; readonly reason: string }
  | { readonly kind: "never-answer" }
  | { readonly kind: "delay"; readonly ms: number }
  /** A connection id that is not 16 bytes long. */
  | { readonly kind: "uuid-length"; readonly length: number }
  /** Neither an error nor connection details. */
  | { readonly kind: "unknown-result" }
  | { readonly kind: "end-control-stream" }
  | { readonly kind: "reset-control-stream" }
  | { readonly kind: "drop" };

/** Once the connection has registered. */
export type ConnectionFault =
  /** Closes TCP after this many requests have been passed on, or after this time. */
  | { readonly kind: "drop-after"; readonly requests?: number; readonly ms?: number }
  | { readonly kind: "goaway" }
  /** Stops reading and writing: no PING is answered. */
  | { readonly kind: "freeze" }
  | { readonly kind: "end-control-after" }
  | { readonly kind: "reset-control-after" };

export type Fault = AcceptFault | HandshakeFault | ControlFault | RegistrationFault | ConnectionFault;

/** Whom a fault meets; without it, whoever comes first. Faults before the registration look at neither: nobody is known yet. */
export interface FaultScope {
  /** How often; default 1. */
  readonly times?: number;
  readonly connIndex?: number;
  readonly tunnelId?: string;
}

type Phase = "accept" | "handshake" | "control" | "registration" | "connection";

const PHASES: Record<Fault["kind"], Phase> = {
  "close-at-accept": "accept",
  "hold-at-accept": "accept",
  "no-preface": "handshake",
  raw: "handshake",
  "no-control-stream": "control",
  malformed: "control",
  control: "control",
  refuse: "registration",
  duplicate: "registration",
  exception: "registration",
  "never-answer": "registration",
  delay: "registration",
  "uuid-length": "registration",
  "unknown-result": "registration",
  "end-control-stream": "registration",
  "reset-control-stream": "registration",
  drop: "registration",
  "drop-after": "connection",
  goaway: "connection",
  freeze: "connection",
  "end-control-after": "connection",
  "reset-control-after": "connection",
};

function isAccept(fault: Fault): fault is AcceptFault {
  return PHASES[fault.kind] === "accept";
}

function isHandshake(fault: Fault): fault is HandshakeFault {
  return PHASES[fault.kind] === "handshake";
}

function isControl(fault: Fault): fault is ControlFault {
  return PHASES[fault.kind] === "control";
}

function isRegistration(fault: Fault): fault is RegistrationFault {
  return PHASES[fault.kind] === "registration";
}

function isConnection(fault: Fault): fault is ConnectionFault {
  return PHASES[fault.kind] === "connection";
}

interface Who {
  readonly connIndex: number;
  readonly tunnelId: string;
}

interface Entry {
  readonly fault: Fault;
  readonly scope: FaultScope;
  left: number;
}

/** Faults that were asked for and have not been used up, in the order in which they came. */
export class FaultPlan {
  readonly #entries: Entry[] = [];

  add(fault: Fault, scope: FaultScope = {}): void {
    this.#entries.push({ fault, scope, left: scope.times ?? 1 });
  }

  clear(): void {
    this.#entries.length = 0;
  }

  accept(): AcceptFault | undefined {
    return this.#take(isAccept, undefined);
  }

  handshake(): HandshakeFault | undefined {
    return this.#take(isHandshake, undefined);
  }

  control(): ControlFault | undefined {
    return this.#take(isControl, undefined);
  }

  registration(who: Who): RegistrationFault | undefined {
    return this.#take(isRegistration, who);
  }

  connection(who: Who): ConnectionFault | undefined {
    return this.#take(isConnection, who);
  }

  #take<F extends Fault>(wanted: (fault: Fault) => fault is F, who: Who | undefined): F | undefined {
    for (const [index, entry] of this.#entries.entries()) {
      const { fault, scope } = entry;
      if (!wanted(fault)) continue;
      if (who !== undefined && scope.connIndex !== undefined && scope.connIndex !== who.connIndex) continue;
      if (who !== undefined && scope.tunnelId !== undefined && scope.tunnelId !== who.tunnelId) continue;
      entry.left--;
      if (entry.left <= 0) this.#entries.splice(index, 1);
      return fault;
    }
    return undefined;
  }
}
