/**
 * One header field of a request or a response. Names and values are byte strings (latin1: one char a byte), so that
 * odd bytes survive the way through. A field is immutable for its users and may be shared by many messages: the HPACK
 * table and the origin's line cache hand out the same object again, which is what makes the caches below pay.
 */
export class HeaderField {
  readonly name: string;
  readonly value: string;
  /** Classification by whoever receives the field (validity, role); 0 = not classified yet. Owned by protocol/http2. */
  kind = 0;
  /** Cached HTTP/1.1 form, `Name: value\r\n`, or "" when the field must not be sent to an origin. Owned by proxy/. */
  line: string | undefined = undefined;
  /** Cached `base64(name):base64(value)` of a response field, or "" when it must not reach the edge. Owned by edge/. */
  pair: string | undefined = undefined;

  constructor(name: string, value: string) {
    this.name = name;
    this.value = value;
  }
}
