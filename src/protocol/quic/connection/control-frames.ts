/** Frames of the connection itself that are sent until they are acknowledged: HANDSHAKE_DONE, NEW_TOKEN, connection ids. */
import type { LocalIds, RemoteIds } from "../connection-ids.ts";
import type { FrameWriter } from "../frame-writer.ts";

/** Which of them a packet carried; undefined fields: none. */
export interface ControlSent {
  handshakeDone: boolean;
  newToken: boolean;
  /** Sequence numbers. */
  issued: number[] | undefined;
  retired: number[] | undefined;
}

export class ControlFrames {
  readonly #local: LocalIds;
  readonly #remote: RemoteIds;
  #handshakeDone = false;
  #token: Buffer | undefined;
  #tokenPending = false;

  constructor(local: LocalIds, remote: RemoteIds) {
    this.#local = local;
    this.#remote = remote;
  }

  get pending(): boolean {
    return this.#handshakeDone || this.#tokenPending || this.#local.hasPending || this.#remote.hasPending;
  }

  sendHandshakeDone(): void {
    this.#handshakeDone = true;
  }

  sendToken(token: Buffer): void {
    this.#token = token;
    this.#tokenPending = true;
  }

  /** Writes what fits; what it wrote stands in the result, undefined = nothing. */
  write(writer: FrameWriter): ControlSent | undefined {
    if (!this.pending) return undefined;
    const sent: ControlSent = { handshakeDone: false, newToken: false, issued: undefined, retired: undefined };
    const before = writer.at;
    if (this.#handshakeDone && writer.handshakeDone()) {
      this.#handshakeDone = false;
      sent.handshakeDone = true;
    }
    if (this.#tokenPending && this.#token !== undefined && writer.newToken(this.#token)) {
      this.#tokenPending = false;
      sent.newToken = true;
    }
    while (this.#remote.hasPending) {
      const sequence = this.#remote.write(writer);
      if (sequence < 0) break;
      (sent.retired ??= []).push(sequence);
    }
    while (this.#local.hasPending) {
      const sequence = this.#local.write(writer);
      if (sequence < 0) break;
      (sent.issued ??= []).push(sequence);
    }
    return writer.at > before ? sent : undefined;
  }

  onAcked(sent: ControlSent): void {
    if (sent.newToken) this.#token = undefined;
    if (sent.retired !== undefined) this.#remote.onAcked(sent.retired.length);
  }

  onLost(sent: ControlSent): void {
    if (sent.handshakeDone) this.#handshakeDone = true;
    if (sent.newToken && this.#token !== undefined) this.#tokenPending = true;
    for (const sequence of sent.issued ?? []) this.#local.onLost(sequence);
    for (const sequence of sent.retired ?? []) this.#remote.onLost(sequence);
  }
}
