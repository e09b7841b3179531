/** The 16 bytes that name a UDP session, as a text of 16 characters (latin1): made without looking at them, and fit for a Map. */
import { DatagramError } from "./errors.ts";

export const SESSION_ID_BYTES = 16;

export function readSessionId(bytes: Buffer, offset: number): string {
  return bytes.toString("latin1", offset, offset + SESSION_ID_BYTES);
}

export function writeSessionId(bytes: Buffer, offset: number, sessionId: string): void {
  if (sessionId.length !== SESSION_ID_BYTES) {
    throw new DatagramError(`a session id has ${sessionId.length} bytes; ${SESSION_ID_BYTES} would be right`);
  }
  bytes.write(sessionId, offset, SESSION_ID_BYTES, "latin1");
}

/** Of 32 hexadecimal digits, with or without the dashes of a UUID; undefined for anything else. */
export function parseSessionId(text: string): string | undefined {
  const digits = text.replaceAll("-", "");
  return /^[0-9a-f]{32}$/i.test(digits) ? Buffer.from(digits, "hex").toString("latin1") : undefined;
}

/** 32 digits, as cloudflared logs them. */
export function sessionIdText(sessionId: string): string {
  return Buffer.from(sessionId, "latin1").toString("hex");
}
