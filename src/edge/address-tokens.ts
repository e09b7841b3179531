/** The edge has more addresses than a tunnel ever dials; this bounds what is kept for them. */
const MAX_ADDRESSES = 64;

/** Of a token: it goes into each of the first packets, which need most of their 1,200 bytes themselves. */
const MAX_TOKEN_BYTES = 512;

/**
 * What servers gave for a next connection, by their address (RFC 9000 § 8.1.3): it shows that we receive at ours, which saves a round
 * trip where the server would ask. Each is used once, so that connections can't be linked by it.
 */
export class AddressTokens {
  readonly #tokens = new Map<string, Buffer>();

  keep(ip: string, token: Buffer): void {
    if (token.length > MAX_TOKEN_BYTES) return;
    this.#tokens.delete(ip);
    this.#tokens.set(ip, token);
    if (this.#tokens.size <= MAX_ADDRESSES) return;
    const [oldest] = this.#tokens.keys();
    if (oldest !== undefined) this.#tokens.delete(oldest);
  }

  take(ip: string): Buffer | undefined {
    const token = this.#tokens.get(ip);
    this.#tokens.delete(ip);
    return token;
  }
}
