/** What must not stand in a log line that leaves this machine. */
import type { TunnelConfig } from "../config/tunnel-config.ts";
import { Scrubber } from "../proxy/ingress/redact.ts";

/** Takes the configuration's own secrets out of a text, and what looks like one. */
export function secretsOf({ edgeProxy, healthCheck, identity }: TunnelConfig): (text: string) => string {
  const scrubber = new Scrubber();
  if (identity.mode === "named") {
    scrubber.add(Buffer.from(identity.credentials.tunnelSecret.reveal()).toString("base64"));
  }
  if (healthCheck.serviceToken !== undefined) scrubber.add(healthCheck.serviceToken.clientSecret.reveal());
  if (edgeProxy?.credentials !== undefined) scrubber.add(edgeProxy.credentials.reveal().password);
  return (text) => scrubber.scrub(text);
}
