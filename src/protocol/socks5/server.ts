/**
 * The server's part of SOCKS5 (RFC 1928), up to the point where the client's bytes are for the destination. Without
 * authentication: whoever gets here has passed Access.
 *
 *   client  VER NMETHODS METHODS…                  server  VER METHOD
 *           VER CMD RSV ATYP DST.ADDR DST.PORT             a reply (reply.ts)
 */
import { addressText, unmapped } from "../bytes/ip-address.ts";
import { Socks5Error } from "./errors.ts";
import { MAX_GREETING_BYTES, MAX_REQUEST_BYTES } from "./limits.ts";
import { AddressType, encodeReply, Reply, VERSION } from "./reply.ts";

const NO_AUTHENTICATION = 0;
const NO_ACCEPTABLE_METHOD = 0xff;
const CONNECT = 1;

export interface Socks5Destination {
  /** An IP, or a name: printable ASCII, as the client sent it. IPv4 in IPv6 form is IPv4. */
  readonly host: string;
  readonly port: number;
}

export interface Socks5Handler {
  /** For the client. */
  send(bytes: Buffer): void;
  /** The last call. */
  onConnect(destination: Socks5Destination): void;
}

export class Socks5Server {
  readonly #handler: Socks5Handler;
  readonly #message = Buffer.alloc(Math.max(MAX_GREETING_BYTES, MAX_REQUEST_BYTES));
  #have = 0;
  #stage: "greeting" | "request" | "done" = "greeting";

  constructor(handler: Socks5Handler) {
    this.#handler = handler;
  }

  /** Takes what belongs to the handshake and returns how much that is: what stands behind it is for the destination. Throws a Socks5Error. */
  receive(chunk: Buffer): number {
    let at = 0;
    while (at < chunk.length && this.#stage !== "done") {
      const need = this.#stage === "greeting" ? this.#greetingLength() : this.#requestLength();
      const length = Math.min(need - this.#have, chunk.length - at);
      chunk.copy(this.#message, this.#have, at, at + length);
      this.#have += length;
      at += length;
      if (this.#have === need) this.#advance();
    }
    return at;
  }

  /** As far as is known: what has come decides on what follows. */
  #greetingLength(): number {
    return this.#have < 2 ? 2 : 2 + this.#byte(1);
  }

  #requestLength(): number {
    // One byte of the address, too: it is the length of a name.
    if (this.#have < 5) return 5;
    switch (this.#byte(3)) {
      case AddressType.ipv4:
        return 10;
      case AddressType.ipv6:
        return 22;
      default:
        return 7 + this.#byte(4);
    }
  }

  #byte(index: number): number {
    return this.#message[index] ?? 0;
  }

  #advance(): void {
    if (this.#byte(0) !== VERSION) {
      throw new Socks5Error(
        `a client of this service must speak SOCKS5; the version here is ${this.#byte(0)}`,
        undefined,
      );
    }
    if (this.#stage === "greeting") {
      if (this.#have === this.#greetingLength()) this.#greeted();
      return;
    }
    if (this.#have === 5) this.#checkRequest();
    if (this.#have === this.#requestLength()) this.#requested();
  }

  #greeted(): void {
    const methods = this.#message.subarray(2, this.#have);
    if (!methods.includes(NO_AUTHENTICATION)) {
      throw new Socks5Error(
        "the SOCKS5 client insists on authentication, which is not offered",
        Buffer.from([VERSION, NO_ACCEPTABLE_METHOD]),
      );
    }
    this.#have = 0;
    this.#stage = "request";
    this.#handler.send(Buffer.from([VERSION, NO_AUTHENTICATION]));
  }

  #checkRequest(): void {
    const command = this.#byte(1);
    if (command !== CONNECT) {
      throw new Socks5Error(
        `the SOCKS5 command ${command} is not served, only CONNECT is`,
        encodeReply(Reply.commandNotSupported),
      );
    }
    const type = this.#byte(3);
    if (type !== AddressType.ipv4 && type !== AddressType.ipv6 && type !== AddressType.name) {
      throw new Socks5Error(`the SOCKS5 address type ${type} is unknown`, encodeReply(Reply.addressTypeNotSupported));
    }
  }

  #requested(): void {
    const message = this.#message.subarray(0, this.#have);
    const isName = this.#byte(3) === AddressType.name;
    const address = message.subarray(isName ? 5 : 4, -2);
    const host = isName ? address.toString("latin1") : addressText(unmapped(address));
    if (isName && !/^[\x21-\x7e]+$/.test(host)) {
      throw new Socks5Error("the name in a SOCKS5 request is not one", encodeReply(Reply.hostUnreachable));
    }
    this.#stage = "done";
    this.#handler.onConnect({ host, port: message.readUInt16BE(this.#have - 2) });
  }
}
