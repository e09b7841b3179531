/** RFC 8446 § B.4. */
import type { HashName } from "./hkdf.ts";
import type { CipherSuite } from "./types.ts";

export interface SuiteDetails {
  readonly name: CipherSuite;
  readonly codePoint: number;
  readonly hash: HashName;
}

const SUITES: readonly SuiteDetails[] = [
  { name: "TLS_AES_128_GCM_SHA256", codePoint: 0x1301, hash: "sha256" },
  { name: "TLS_AES_256_GCM_SHA384", codePoint: 0x1302, hash: "sha384" },
  { name: "TLS_CHACHA20_POLY1305_SHA256", codePoint: 0x1303, hash: "sha256" },
];

/** All, or those named, in the order of the names. */
export function suiteDetails(
  names: readonly CipherSuite[] = SUITES.map((suite) => suite.name),
): readonly SuiteDetails[] {
  return names.flatMap((name) => SUITES.filter((suite) => suite.name === name));
}
