/** What a program can be given as an error, it can also tell by its class: from the package, and by docs/library.md. */
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import * as underpass from "../../src/index.ts";

const root = resolve(import.meta.dirname, "../..");

/** Never given to a program by itself: the command's own, those of the mock edge's entry, and causes of others. */
const INTERNAL: readonly string[] = [
  "UsageError",
  "NotYetError",
  "DiagFileError",
  "NoInstanceError",
  "OutputError",
  "ServiceError",
  "ApiError",
  "OriginCertError",
  "TailUnreachableError",
  "TailRefusedError",
  "TailEndedError",
  "DotError",
  "DnsMessageError",
  "HpackError",
  "Http1ResponseError",
  "CapnpError",
  "AccessKeysError",
  "StreamHeadError",
  "TransportError",
  "QuicConnectionError",
  "TlsAlertError",
  "DatagramError",
  "UdpSessionError",
];

const declared = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts") && !name.startsWith("mock-edge"))
  .flatMap((name) => [...readFileSync(join(root, "src", name), "utf8").matchAll(/class (\w+) extends UnderpassError/g)])
  .map(([, name = ""]) => name)
  .sort();

describe("the errors of the package", () => {
  it("are exported, all but the internal ones", () => {
    const exported = Object.keys(underpass).filter((name) => name.endsWith("Error") && name !== "UnderpassError");
    expect([...exported, ...INTERNAL].sort()).toEqual(declared);
  });

  it("are told of in docs/library.md", () => {
    const text = readFileSync(join(root, "docs/library.md"), "utf8");
    const missing = declared.filter((name) => !INTERNAL.includes(name) && !text.includes(`\`${name}\``));
    expect(missing).toEqual([]);
  });
});
