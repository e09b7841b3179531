/**
 * The client's part of SOCKS5 (RFC 1928), with a user's name and password where the server wants them (RFC 1929):
 *
 *   client  05 NMETHODS METHODS…            server  05 METHOD
 *           01 ULEN USER PLEN PASSWORD              01 STATUS           where METHOD is 02
 *           05 01 00 ATYP DST.ADDR DST.PORT         a reply (reply.ts), then the destination's bytes
 */
import { addressBytes } from "../bytes/ip-address.ts";
import { Socks5Error } from "./errors.ts";
import { AddressType, Reply, VERSION } from "./reply.ts";

const NO_AUTHENTICATION = 0;
const USER_AND_PASSWORD = 2;
const AUTHENTICATION_VERSION = 1;
const CONNECT = 1;

const REPLIES: Readonly<Record<number, string>> = {
  [Reply.generalFailure]: "general failure",
  [Reply.notAllowed]: "not allowed by its rules",
  [Reply.networkUnreachable]: "network unreachable",
  [Reply.hostUnreachable]: "host unreachable",
  [Reply.connectionRefused]: "connection refused",
  [Reply.ttlExpired]: "TTL expired",
  [Reply.commandNotSupported]: "command not supported",
  [Reply.addressTypeNotSupported]: "address type not supported",
};

export interface Socks5Credentials {
  /** Both at most 255 bytes. */
  readonly user: string;
  readonly password: string;
}

export interface Socks5Progress {
  /** To be sent now. */
  readonly send: Buffer | undefined;
  /** The destination's first bytes, maybe none, once the tunnel is open. */
  readonly rest: Buffer | undefined;
}

const MORE: Socks5Progress = { send: undefined, rest: undefined };

export class Socks5Client {
  readonly #destination: Buffer;
  readonly #credentials: Socks5Credentials | undefined;
  #stage: "method" | "authentication" | "reply" = "method";
  #received = Buffer.alloc(0);

  /** @param ip of the destination */
  constructor(ip: string, port: number, credentials: Socks5Credentials | undefined) {
    const address = addressBytes(ip) ?? Buffer.alloc(4);
    this.#destination = Buffer.alloc(address.length + 3);
    this.#destination[0] = address.length === 4 ? AddressType.ipv4 : AddressType.ipv6;
    address.copy(this.#destination, 1);
    this.#destination.writeUInt16BE(port, 1 + address.length);
    this.#credentials = credentials;
  }

  start(): Buffer {
    const methods = this.#credentials === undefined ? [NO_AUTHENTICATION] : [NO_AUTHENTICATION, USER_AND_PASSWORD];
    return Buffer.from([VERSION, methods.length, ...methods]);
  }

  /** Throws a Socks5Error where the server refuses, or does not speak SOCKS5. */
  receive(chunk: Buffer): Socks5Progress {
    this.#received = Buffer.concat([this.#received, chunk]);
    if (this.#stage === "method") return this.#method();
    return this.#stage === "authentication" ? this.#authentication() : this.#reply();
  }

  /** The server says nothing that it was not asked for, so each answer is all there is. */
  #method(): Socks5Progress {
    if (this.#received.length < 2) return MORE;
    const method = this.#take(2, VERSION);
    if (method === NO_AUTHENTICATION) return this.#request();
    if (method === USER_AND_PASSWORD && this.#credentials !== undefined) {
      this.#stage = "authentication";
      const { user, password } = this.#credentials;
      const [name, word] = [Buffer.from(user), Buffer.from(password)];
      const head = Buffer.from([AUTHENTICATION_VERSION, name.length]);
      return { send: Buffer.concat([head, name, Buffer.of(word.length), word]), rest: undefined };
    }
    throw new Socks5Error(
      this.#credentials === undefined
        ? "the proxy wants a user name and a password, or something else that was not offered"
        : "the proxy takes no user name and password",
      undefined,
    );
  }

  #authentication(): Socks5Progress {
    if (this.#received.length < 2) return MORE;
    if (this.#take(2, AUTHENTICATION_VERSION) !== 0) {
      throw new Socks5Error("the proxy refused the user name and the password", undefined);
    }
    return this.#request();
  }

  #request(): Socks5Progress {
    this.#stage = "reply";
    return { send: Buffer.concat([Buffer.from([VERSION, CONNECT, 0]), this.#destination]), rest: undefined };
  }

  #reply(): Socks5Progress {
    const bytes = this.#received;
    if (bytes.length < 5) return MORE;
    const code = bytes.readUInt8(1);
    if (bytes[0] !== VERSION) throw new Socks5Error("what answers does not speak SOCKS5", undefined);
    if (code !== Reply.succeeded) {
      throw new Socks5Error(`the proxy could not connect: ${REPLIES[code] ?? `reply ${code}`}`, undefined);
    }
    const length = 6 + addressLength(bytes);
    return bytes.length < length ? MORE : { send: undefined, rest: bytes.subarray(length) };
  }

  /** Checks the version, takes the message, and returns its second byte. */
  #take(length: number, version: number): number {
    if (this.#received[0] !== version) throw new Socks5Error("what answers does not speak SOCKS5", undefined);
    const value = this.#received.readUInt8(1);
    this.#received = this.#received.subarray(length);
    return value;
  }
}

/** Of BND.ADDR, with the length before a name. */
function addressLength(reply: Buffer): number {
  switch (reply[3]) {
    case AddressType.ipv4:
      return 4;
    case AddressType.ipv6:
      return 16;
    case AddressType.name:
      return 1 + reply.readUInt8(4);
    default:
      throw new Socks5Error("the proxy answered with an address of an unknown type", undefined);
  }
}
