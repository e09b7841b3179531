/** How the edge answers registerConnection (wire § 9.6). */
import type { RegistrationParams, RegistrationResult } from "../rpc/registration-client.ts";
import type { ByteChannel } from "../types.ts";
import type { RegistrationFault } from "./faults.ts";
import type { Verdict } from "./tunnels.ts";

/** What a connector said of itself. The secret is not kept: only whether it was right. */
export interface Registration extends Omit<RegistrationParams, "tunnelSecret"> {
  readonly credentials: Verdict;
}

export type Refusal = Extract<RegistrationResult, { kind: "refused" }>;

const VERDICTS: Record<Exclude<Verdict, "valid">, string> = {
  "unknown-tunnel": "Unauthorized: Tunnel not found",
  "wrong-account": "Unauthorized: Account mismatch",
  "wrong-secret": "Unauthorized: Invalid tunnel secret",
};

export function record(params: RegistrationParams, credentials: Verdict): Registration {
  return {
    accountTag: params.accountTag,
    tunnelId: params.tunnelId,
    connIndex: params.connIndex,
    clientId: params.clientId,
    features: params.features,
    version: params.version,
    arch: params.arch,
    originLocalIp: params.originLocalIp,
    replaceExisting: params.replaceExisting,
    numPreviousAttempts: params.numPreviousAttempts,
    credentials,
  };
}

/** The refusal that wrong credentials or a fault ask for. */
export function refusalOf(verdict: Verdict, fault: RegistrationFault | undefined): Refusal | undefined {
  if (fault?.kind === "duplicate") return { kind: "refused", cause: "EDUPCONN", shouldRetry: true, retryAfterMs: 0 };
  if (fault?.kind === "refuse") {
    const { cause, shouldRetry = false, retryAfterMs = 0 } = fault;
    return { kind: "refused", cause, shouldRetry, retryAfterMs };
  }
  if (verdict === "valid") return undefined;
  return { kind: "refused", cause: VERDICTS[verdict], shouldRetry: false, retryAfterMs: 0 };
}

/** Resolves after `ms`, or rejects when the call is no longer waited for. */
export function delay(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = ms === Number.POSITIVE_INFINITY ? undefined : setTimeout(resolve, ms);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        reject(new Error("the call was given up"));
      },
      { once: true },
    );
  });
}

/** ConnectionResponse's data word (union tag 1) before the pointer to ConnectionDetails, a struct of 1 and 2 words. */
const DETAILS = Buffer.from("01000000000000000000000001000200", "hex");
/** The upper half of a pointer to 16 bytes of Data. */
const UUID_POINTER = Buffer.from("82000000", "hex");

/**
 * A channel whose next successful answer is broken on its way out, which the RPC server itself never does:
 * another union tag, or a connection id of another length (0 to 16).
 */
export function breakAnswer(
  channel: ByteChannel,
  fault: { kind: "uuid-length"; length: number } | { kind: "unknown-result" },
): void {
  const write = channel.write.bind(channel);
  channel.write = (bytes) => {
    const broken = Buffer.from(bytes);
    const at = broken.indexOf(DETAILS);
    if (at >= 0) {
      channel.write = write;
      if (fault.kind === "unknown-result") broken.writeUInt16LE(7, at);
      else {
        const pointer = broken.indexOf(UUID_POINTER, at);
        if (pointer >= 0) broken.writeUInt32LE((fault.length << 3) | 2, pointer);
      }
    }
    write(broken);
  };
}
