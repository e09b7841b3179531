/** What a connector tells the edge about itself (wire §§ 1.5, 9.4). */
import type { TunnelConfig } from "../config/tunnel-config.ts";

const MANAGEMENT = "management_logs";

const ALWAYS: readonly string[] = [
  "allow_remote_config",
  "serialized_headers",
  "support_datagram_v2",
  "support_quic_eof",
  MANAGEMENT,
];

/** Withdrawn: cloudflared drops them even when they are asked for. */
const WITHDRAWN: ReadonlySet<string> = new Set(["support_datagram_v3", "support_datagram_v3_1"]);

const DATAGRAM_V2 = "support_datagram_v2";
const DATAGRAM_V3 = "support_datagram_v3_2";

/** `datagramV3`: Cloudflare has it on for this account. Whoever asks for the one version or the other by name gets it. */
export function featuresOf(
  config: Pick<TunnelConfig, "features" | "management" | "postQuantum">,
  datagramV3: boolean,
): readonly string[] {
  const wanted = [...ALWAYS, ...(config.postQuantum ? ["postquantum"] : []), ...config.features];
  if (datagramV3 && !config.features.includes(DATAGRAM_V2)) wanted.push(DATAGRAM_V3);
  const unmanaged = config.management === undefined;
  return [...new Set(wanted)].filter((feature) => !WITHDRAWN.has(feature) && !(unmanaged && feature === MANAGEMENT));
}

/** Of the datagrams that belong to these features (wire §§ 6, 7). */
export function datagramVersion(features: readonly string[]): 2 | 3 {
  return features.includes(DATAGRAM_V3) ? 3 : 2;
}

const GO_PLATFORMS: Readonly<Record<string, string>> = { win32: "windows", sunos: "solaris" };
const GO_ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386", mipsel: "mipsle" };

/** `<GOOS>_<GOARCH>`, e.g. `linux_amd64`. */
export function architecture(platform: string = process.platform, arch: string = process.arch): string {
  return `${GO_PLATFORMS[platform] ?? platform}_${GO_ARCHITECTURES[arch] ?? arch}`;
}
