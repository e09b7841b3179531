const STANDARD = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Bytes of standard, padded base64; undefined for anything else. Line ends inside are skipped (wire § 1.1). */
export function decodeBase64(text: string): Uint8Array | undefined {
  const packed = text.replace(/[\r\n]/g, "");
  return STANDARD.test(packed) ? new Uint8Array(Buffer.from(packed, "base64")) : undefined;
}
