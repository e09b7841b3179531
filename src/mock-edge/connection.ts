/** One connection of a connector, from its TLS handshake to its end: registration, requests, shutdown (wire §§ 4, 9.5). */
import { randomUUID } from "node:crypto";
import { ErrorCode } from "../protocol/http2/types.ts";
import type { RegistrationParams, RegistrationResult } from "../rpc/registration-client.ts";
import { serveRegistration } from "../rpc/registration-server.ts";
import type { ByteChannel, EdgeProtocol } from "../types.ts";
import type { Carrier, CarrierHandlers, ControlStream, StreamRequest } from "./carrier.ts";
import type { ConnectionFault, ControlFault, FaultPlan } from "./faults.ts";
import { PrivateNetwork } from "./private-network.ts";
import { breakAnswer, delay, record, type Refusal, refusalOf, type Registration } from "./registration.ts";
import type { Verdict } from "./tunnels.ts";
import { VisitorStream } from "./visitor-stream.ts";

export type ConnectionState =
  /** TLS is up, nothing was asked for. */
  | "connected"
  /** registerConnection waits for its answer. */
  | "registering"
  | "registered"
  | "refused"
  /** unregisterConnection was answered: no new requests, those in flight finish. */
  | "draining"
  | "closed";

/** What a connection needs of the edge that it belongs to. */
export interface ConnectionHost {
  readonly faults: FaultPlan;
  readonly remotelyManaged: boolean;
  /** Close TCP once a connection that has unregistered has nothing left to do. */
  readonly closeDrained: boolean;
  verify(params: RegistrationParams): Verdict;
  location(connIndex: number): string;
  onRegistration(registration: Registration): void;
  onLocalConfiguration(connection: Connection, config: Uint8Array): void;
  /** `connection.state` has changed. */
  onState(connection: Connection): void;
}

/** How long a connector may take to end the control stream before the edge closes TCP itself. */
const CONTROL_END_MS = 1_000;

const MALFORMED = Buffer.alloc(64, 0xff);

export class Connection {
  /** UUID that the edge gives the registration. */
  readonly id = randomUUID();
  readonly closed: Promise<void>;

  readonly #host: ConnectionHost;
  readonly #carrier: Carrier;
  readonly #streams = new Set<VisitorStream>();
  readonly #pongs: ((roundTripMs: number) => void)[] = [];
  #state: ConnectionState = "connected";
  #registration: Registration | undefined;
  #location = "";
  #control: ControlStream | undefined;
  #controlEnded = false;
  #privateNetwork: PrivateNetwork | undefined;
  #error: Error | undefined;
  #requestsLeft = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #resolveClosed!: () => void;

  constructor(carry: (handlers: CarrierHandlers) => Carrier, host: ConnectionHost) {
    this.#host = host;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.#carrier = carry({
      onReady: () => this.#openControl(),
      onPong: (roundTripMs) => this.#pongs.shift()?.(roundTripMs),
      onClose: (error) => {
        this.#error = error;
        clearTimeout(this.#timer);
        this.#privateNetwork?.close();
        // Those of a QUIC connection that was forgotten have not heard of it.
        for (const stream of Array.from(this.#streams)) stream.onCancel({ kind: "connection-closed" });
        this.#become("closed");
        this.#resolveClosed();
      },
    });
  }

  get protocol(): EdgeProtocol {
    return this.#carrier.protocol;
  }

  /** `ip:port` of the connector's end. */
  get remoteAddress(): string {
    return this.#carrier.remoteAddress;
  }

  /** Which of the edge's hosts the connector dialled. */
  get host(): string {
    return this.#carrier.host;
  }

  get tlsVersion(): string {
    return this.#carrier.tlsVersion;
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** What the connector said of itself; undefined before it has. */
  get registration(): Registration | undefined {
    return this.#registration;
  }

  /** The edge's location, such as `LAB01`; empty before the registration. */
  get location(): string {
    return this.#location;
  }

  /** What ended the connection, where it did not end in order. */
  get error(): Error | undefined {
    return this.#error;
  }

  /** Requests in flight. */
  get activeStreams(): number {
    return this.#streams.size;
  }

  /** Whether visitors may be sent here. */
  get routable(): boolean {
    return this.#state === "registered" && this.#carrier.availableStreams > 0;
  }

  /** Opens a stream; undefined when the connection takes none. */
  openStream(request: StreamRequest): VisitorStream | undefined {
    const stream = VisitorStream.open((handler) => this.#carrier.open(request, handler));
    if (stream === undefined) return undefined;
    this.#streams.add(stream);
    stream.once("close", () => {
      this.#streams.delete(stream);
      this.#closeIfDrained();
    });
    // The head has ended this side already; the Duplex has to know it too.
    if (request.end === true) stream.end();
    if (--this.#requestsLeft <= 0) setImmediate(() => this.drop());
    return stream;
  }

  /** UDP sessions and ICMP; undefined before the registration, and on HTTP/2. */
  get privateNetwork(): PrivateNetwork | undefined {
    return this.#privateNetwork;
  }

  /** A stream on which the connector takes calls; undefined when it takes none, and on HTTP/2. */
  openRpc(): ByteChannel | undefined {
    return this.#carrier.openRpc();
  }

  /** Sends a PING; resolves with the round trip in milliseconds. */
  ping(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#pongs.push(resolve);
      void this.closed.then(() => reject(new Error("the connection closed before the PING was answered")));
      this.#carrier.ping();
    });
  }

  goaway(code: number = ErrorCode.NO_ERROR): void {
    this.#carrier.goaway(code);
  }

  /** Stops reading and writing, as if the edge's machine were gone. */
  freeze(): void {
    this.#carrier.freeze();
  }

  thaw(): void {
    this.#carrier.thaw();
  }

  endControlStream(): void {
    this.#control?.end();
  }

  resetControlStream(code?: number): void {
    this.#control?.reset(code);
  }

  /** Writes bytes of the caller's own between two frames, e.g. a frame that breaks the protocol. */
  sendRaw(bytes: Uint8Array): void {
    this.#carrier.writeRaw(bytes);
  }

  /** Sends what is queued, then closes TCP. */
  close(): void {
    this.#carrier.close();
  }

  /** Closes TCP at once. */
  drop(): void {
    this.#carrier.drop();
  }

  /** Resets TCP; over QUIC each further packet is answered by a stateless reset. */
  reset(): void {
    this.#carrier.reset();
  }

  #become(state: ConnectionState): void {
    if (this.#state === state || this.#state === "closed") return;
    this.#state = state;
    this.#host.onState(this);
  }

  #openControl(): void {
    const fault = this.#host.faults.control();
    if (fault?.kind === "no-control-stream") return;
    const control = this.#carrier.openControl(() => this.#onControlEnd());
    if (control === undefined) return;
    this.#control = control;
    if (fault === undefined) this.#serve(control);
    else this.#misuse(control, fault);
  }

  #misuse(control: ControlStream, fault: Exclude<ControlFault, { kind: "no-control-stream" }>): void {
    if (fault.kind === "malformed") control.channel.write(fault.bytes ?? MALFORMED);
    else fault.serve(control.channel);
  }

  #serve(control: ControlStream): void {
    serveRegistration(control.channel, {
      registerConnection: (params, signal) => this.#register(control, params, signal),
      unregisterConnection: () => {
        this.#become("draining");
        this.#closeAfterControl();
      },
      updateLocalConfiguration: (config) => this.#host.onLocalConfiguration(this, config),
    });
  }

  async #register(
    control: ControlStream,
    params: RegistrationParams,
    signal: AbortSignal,
  ): Promise<RegistrationResult> {
    const verdict = this.#host.verify(params);
    const registration = record(params, verdict);
    this.#registration = registration;
    this.#become("registering");
    this.#host.onRegistration(registration);
    const fault = this.#host.faults.registration(params);
    switch (fault?.kind) {
      case "exception":
        throw new Error(fault.reason);
      case "never-answer":
        await delay(Number.POSITIVE_INFINITY, signal);
        break;
      case "delay":
        await delay(fault.ms, signal);
        break;
      case "uuid-length":
      case "unknown-result":
        breakAnswer(control.channel, fault);
        return this.#details(params);
      case "end-control-stream":
        control.end();
        await delay(Number.POSITIVE_INFINITY, signal);
        break;
      case "reset-control-stream":
        control.reset();
        await delay(Number.POSITIVE_INFINITY, signal);
        break;
      case "drop":
        this.drop();
        await delay(Number.POSITIVE_INFINITY, signal);
        break;
      default:
    }
    const refusal = refusalOf(verdict, fault);
    return refusal === undefined ? this.#accept(params) : this.#refuse(refusal);
  }

  #refuse(refusal: Refusal): RegistrationResult {
    this.#become("refused");
    this.#closeAfterControl();
    return refusal;
  }

  #accept(params: RegistrationParams): RegistrationResult {
    const { datagrams } = this.#carrier;
    if (datagrams !== undefined) {
      const version = params.features.includes("support_datagram_v3_2") ? 3 : 2;
      this.#privateNetwork = new PrivateNetwork(this.#carrier, datagrams, version);
    }
    // The answer leaves first; visitors come behind it.
    setImmediate(() => {
      this.#carrier.flush();
      this.#become("registered");
      const fault = this.#host.faults.connection(params);
      if (fault !== undefined) this.#suffer(fault);
    });
    return this.#details(params);
  }

  #details({ connIndex }: RegistrationParams): RegistrationResult {
    this.#location = this.#host.location(connIndex);
    return {
      kind: "registered",
      connectionId: this.id,
      location: this.#location,
      remotelyManaged: this.#host.remotelyManaged,
    };
  }

  #suffer(fault: ConnectionFault): void {
    switch (fault.kind) {
      case "drop-after":
        if (fault.requests !== undefined) this.#requestsLeft = fault.requests;
        if (fault.ms !== undefined) this.#timer = setTimeout(() => this.drop(), fault.ms);
        break;
      case "goaway":
        this.goaway();
        break;
      case "freeze":
        this.freeze();
        break;
      case "end-control-after":
        this.endControlStream();
        break;
      case "reset-control-after":
        this.resetControlStream();
        break;
    }
  }

  #onControlEnd(): void {
    this.#controlEnded = true;
    // A connector that could not register leaves the closing to the edge (wire § 4.1).
    if (this.#state === "connected" || this.#state === "registering") this.close();
    this.#closeIfDrained();
  }

  /** The connector ends the control stream when it has read the answer; one that does not is not waited for long. */
  #closeAfterControl(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#onControlEnd(), CONTROL_END_MS);
    this.#closeIfDrained();
  }

  #closeIfDrained(): void {
    if (!this.#controlEnded || this.#streams.size > 0) return;
    if (this.#state === "refused" || (this.#state === "draining" && this.#host.closeDrained)) this.close();
  }
}
