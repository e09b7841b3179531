import { readFileSync } from "node:fs";

/** Version of this package, as package.json states it. */
export function readVersion(): string {
  // The same two levels up from src/config/ and dist/config/.
  const manifest: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  const version = typeof manifest === "object" && manifest !== null && "version" in manifest ? manifest.version : "";
  return String(version);
}
