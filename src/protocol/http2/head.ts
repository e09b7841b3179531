/** Header lists as messages (RFC 9113 § 8.3): collects what HPACK decodes, and judges it as a request, a response or trailers. */
import type { HeaderField } from "../bytes/header-field.ts";
import { Kind, kindOf } from "./field-kind.ts";
import { MAX_DECODED_HEADER_LIST, MAX_HEADER_LIST_SIZE } from "./limits.ts";
import { floodError } from "./errors.ts";
import type { RequestHead, ResponseHeadFields } from "./types.ts";

/** What a field adds to the size of its list beside its name and value (RFC 9113 § 6.5.2). */
const FIELD_OVERHEAD = 32;

export class HeaderList {
  #fields: HeaderField[] = [];
  #size = 0;
  #malformed = false;
  #method: string | undefined;
  #scheme: string | undefined;
  #authority: string | undefined;
  #path: string | undefined;
  #status: string | undefined;
  #contentLength: string | undefined;
  #pseudoFields = 0;

  /** Larger than we announced: the list is not complete. */
  get tooLarge(): boolean {
    return this.#size > MAX_HEADER_LIST_SIZE;
  }

  begin(): void {
    this.#fields = [];
    this.#size = 0;
    this.#malformed = false;
    this.#method = undefined;
    this.#scheme = undefined;
    this.#authority = undefined;
    this.#path = undefined;
    this.#status = undefined;
    this.#contentLength = undefined;
    this.#pseudoFields = 0;
  }

  /** To be given to the HPACK decoder. */
  readonly add = (field: HeaderField): void => {
    this.#size += field.name.length + field.value.length + FIELD_OVERHEAD;
    if (this.#size > MAX_HEADER_LIST_SIZE) {
      // The rest is decoded for the tables' sake, and dropped: references can make a list thousands of times larger than its block.
      if (this.#size > MAX_DECODED_HEADER_LIST) throw floodError("a header block decodes to a list of many megabytes");
      return;
    }
    switch (kindOf(field)) {
      case Kind.REGULAR:
      case Kind.TE:
        this.#fields.push(field);
        break;
      case Kind.METHOD:
        this.#method = this.#pseudo(this.#method, field);
        break;
      case Kind.SCHEME:
        this.#scheme = this.#pseudo(this.#scheme, field);
        break;
      case Kind.AUTHORITY:
        this.#authority = this.#pseudo(this.#authority, field);
        break;
      case Kind.PATH:
        this.#path = this.#pseudo(this.#path, field);
        break;
      case Kind.STATUS:
        this.#status = this.#pseudo(this.#status, field);
        break;
      case Kind.CONTENT_LENGTH:
        // Two that differ are a way to smuggle requests; two that agree stand for one (RFC 9110 § 8.6).
        if (this.#contentLength === undefined) this.#fields.push(field);
        else if (this.#contentLength !== field.value) this.#malformed = true;
        this.#contentLength = field.value;
        break;
      default:
        this.#malformed = true;
    }
  };

  /** Undefined when the request is malformed (RFC 9113 § 8.1.1). */
  request(): RequestHead | undefined {
    const method = this.#method;
    if (this.#malformed || method === undefined || this.#status !== undefined) return undefined;
    const scheme = this.#scheme;
    const path = this.#path;
    const authority = this.#authority;
    if (method === "CONNECT") {
      // RFC 9113 § 8.5.
      if (scheme !== undefined || path !== undefined || authority === undefined) return undefined;
    } else if (scheme === undefined || path === undefined) {
      return undefined;
    } else if (path.charCodeAt(0) !== 0x2f && !(path === "*" && method === "OPTIONS")) {
      return undefined;
    }
    return {
      method,
      scheme,
      authority: authority ?? this.#host(),
      path: path ?? "",
      fields: this.#fields,
      contentLength: this.contentLength,
    };
  }

  /** Undefined when the response is malformed. */
  response(): ResponseHeadFields | undefined {
    // 101 has no meaning in HTTP/2 (RFC 9113 § 8.6).
    if (this.#malformed || this.#status === undefined || this.#pseudoFields !== 1) return undefined;
    return this.#status === "101" ? undefined : { status: Number(this.#status), fields: this.#fields };
  }

  /** Undefined when the trailer section is malformed. */
  trailers(): readonly HeaderField[] | undefined {
    return this.#malformed || this.#pseudoFields > 0 ? undefined : this.#fields;
  }

  get contentLength(): number | undefined {
    return this.#contentLength === undefined ? undefined : Number(this.#contentLength);
  }

  /** Pseudo fields stand once, and before all others. */
  #pseudo(seen: string | undefined, field: HeaderField): string {
    if (seen !== undefined || this.#fields.length > 0) this.#malformed = true;
    this.#pseudoFields++;
    return field.value;
  }

  /** Whoever speaks without :authority names the host in a field (RFC 9113 § 8.3.1). */
  #host(): string {
    return this.#fields.find((field) => field.name === "host")?.value ?? "";
  }
}
