/**
 * Connection ids (RFC 9000 §§ 5.1, 19.15, 19.16): those that we gave the peer to send to (LocalIds), and those that it gave us
 * (RemoteIds). An id lives from the frame that issues it to the RETIRE_CONNECTION_ID by the side that uses it.
 */
import { frameEncodingError, protocolViolation, TransportError, TransportErrorCode } from "./errors.ts";
import type { FrameWriter } from "./frame-writer.ts";
import { MAX_LOCAL_IDS, MAX_UNACKED_RETIREMENTS } from "./limits.ts";

export interface IssuedId {
  readonly sequence: number;
  readonly id: Buffer;
  readonly resetToken: Buffer;
}

/** Makes ids and knows which are in use: the endpoint, which routes by them. */
export interface IdIssuer {
  issue(): { readonly id: Buffer; readonly resetToken: Buffer };
  retired(id: Buffer): void;
}

export class LocalIds {
  readonly #issuer: IdIssuer | undefined;
  readonly #active: IssuedId[] = [];
  #nextSequence = 1;
  /** To be sent, again if lost. */
  readonly #pending: IssuedId[] = [];

  /** `issuer` undefined = our ids have no bytes, and there is but one. */
  constructor(first: IssuedId, issuer: IdIssuer | undefined) {
    this.#active.push(first);
    this.#issuer = issuer;
  }

  get active(): readonly IssuedId[] {
    return this.#active;
  }

  /** Gives the peer as many as it keeps: its active_connection_id_limit. */
  issueUpTo(peerLimit: number): void {
    const issuer = this.#issuer;
    if (issuer === undefined) return;
    while (this.#active.length < Math.min(peerLimit, MAX_LOCAL_IDS)) {
      const issued = { sequence: this.#nextSequence++, ...issuer.issue() };
      this.#active.push(issued);
      this.#pending.push(issued);
    }
  }

  /** The peer retires an id; `usedId` is the id that this packet came to. */
  onRetire(sequence: number, usedId: Buffer, peerLimit: number): void {
    const issuer = this.#issuer;
    if (issuer === undefined) throw protocolViolation("a connection id without bytes can't be retired");
    if (sequence >= this.#nextSequence) throw protocolViolation("a connection id was retired that was never issued");
    const index = this.#active.findIndex((issued) => issued.sequence === sequence);
    const issued = this.#active[index];
    if (issued === undefined) return;
    if (issued.id.equals(usedId)) throw protocolViolation("a packet retired the connection id that it came to");
    this.#active.splice(index, 1);
    const pending = this.#pending.indexOf(issued);
    if (pending >= 0) this.#pending.splice(pending, 1);
    issuer.retired(issued.id);
    this.issueUpTo(peerLimit);
  }

  get hasPending(): boolean {
    return this.#pending.length > 0;
  }

  /** Writes one pending NEW_CONNECTION_ID; returns its sequence number, or -1. */
  write(writer: FrameWriter): number {
    const [issued] = this.#pending;
    if (issued === undefined || !writer.newConnectionId(issued.sequence, 0, issued.id, issued.resetToken)) return -1;
    this.#pending.shift();
    return issued.sequence;
  }

  onLost(sequence: number): void {
    const issued = this.#active.find((one) => one.sequence === sequence);
    if (issued !== undefined) this.#pending.push(issued);
  }
}

interface RemoteId {
  readonly sequence: number;
  readonly id: Buffer;
  /** Absent for a client's first id, and for a server's first one when its parameters had none. */
  resetToken: Buffer | undefined;
}

export class RemoteIds {
  /** How many the peer may give us: what we announced as active_connection_id_limit. */
  readonly #limit: number;
  #ids: RemoteId[];
  #current: RemoteId;
  #retirePriorTo = 0;
  readonly #pending: number[] = [];
  /** Retirements that were sent, and are not acknowledged. */
  #inFlight = 0;

  constructor(first: Buffer, limit: number) {
    this.#limit = limit;
    this.#current = { sequence: 0, id: first, resetToken: undefined };
    this.#ids = [this.#current];
  }

  /** What our packets are sent to. */
  get current(): Buffer {
    return this.#current.id;
  }

  /** The peer's Initial or Retry tells its real id, in place of the one that we made up or knew before. */
  replaceFirst(id: Buffer): void {
    this.#current = { sequence: 0, id, resetToken: undefined };
    this.#ids = [this.#current];
  }

  /** From the server's transport parameters. */
  setFirstResetToken(token: Buffer): void {
    const first = this.#ids.find((one) => one.sequence === 0);
    if (first !== undefined) first.resetToken = token;
  }

  /** Tokens whose datagrams end this connection (RFC 9000 § 10.3.1). */
  *resetTokens(): Generator<Buffer> {
    for (const { resetToken } of this.#ids) {
      if (resetToken !== undefined) yield resetToken;
    }
  }

  onNew(sequence: number, retirePriorTo: number, id: Buffer, resetToken: Buffer): void {
    if (retirePriorTo > sequence) throw frameEncodingError("a connection id retires itself");
    if (this.#current.id.length === 0) throw protocolViolation("a peer whose connection id has no bytes issued one");
    const known = this.#ids.find((one) => one.sequence === sequence || one.id.equals(id));
    if (known !== undefined) {
      const same = known.sequence === sequence && known.id.equals(id) && known.resetToken?.equals(resetToken) === true;
      if (!same) throw protocolViolation("a connection id or its number was issued twice");
    } else if (sequence < this.#retirePriorTo) {
      this.#retire(sequence);
    } else {
      this.#ids.push({ sequence, id: Buffer.from(id), resetToken: Buffer.from(resetToken) });
    }
    if (retirePriorTo > this.#retirePriorTo) this.#retireBelow(retirePriorTo);
    if (this.#ids.length > this.#limit) {
      throw new TransportError(
        TransportErrorCode.CONNECTION_ID_LIMIT_ERROR,
        `more than the ${this.#limit} connection ids that we keep`,
      );
    }
  }

  #retireBelow(retirePriorTo: number): void {
    this.#retirePriorTo = retirePriorTo;
    const kept: RemoteId[] = [];
    for (const one of this.#ids) {
      if (one.sequence < retirePriorTo) this.#retire(one.sequence);
      else kept.push(one);
    }
    this.#ids = kept;
    const [oldest] = kept;
    // The frame that raised it came with an id that stays, or had come before.
    if (oldest === undefined) throw protocolViolation("the peer retired all of its connection ids");
    if (this.#current.sequence < retirePriorTo) this.#current = oldest;
  }

  #retire(sequence: number): void {
    if (this.#pending.includes(sequence)) return;
    // CVE-2024-22189: each NEW_CONNECTION_ID may cost us a frame that the peer need not acknowledge.
    if (this.#pending.length + this.#inFlight >= MAX_UNACKED_RETIREMENTS) {
      throw new TransportError(
        TransportErrorCode.CONNECTION_ID_LIMIT_ERROR,
        "too many connection ids were retired without acknowledging it",
      );
    }
    this.#pending.push(sequence);
  }

  get hasPending(): boolean {
    return this.#pending.length > 0;
  }

  /** Writes one pending RETIRE_CONNECTION_ID; returns its sequence number, or -1. */
  write(writer: FrameWriter): number {
    const [sequence] = this.#pending;
    if (sequence === undefined || !writer.retireConnectionId(sequence)) return -1;
    this.#pending.shift();
    this.#inFlight++;
    return sequence;
  }

  /** The peer has so many of the retirements. */
  onAcked(count: number): void {
    this.#inFlight -= count;
  }

  onLost(sequence: number): void {
    this.#inFlight--;
    this.#pending.push(sequence);
  }
}
