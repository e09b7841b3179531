/** The mock edge's certificates, as OpenSSL and Node's own TLS see them. */
import { X509Certificate } from "node:crypto";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { describe, expect, it } from "vitest";
import { createAuthority, type Leaf } from "../../src/mock-edge/ca.ts";
import { integer, objectIdentifier, octetString, time } from "../../src/mock-edge/der.ts";

const DAY_MS = 24 * 60 * 60 * 1000;

const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;

describe("DER", () => {
  it("writes what X.690 and RFC 5280 say", () => {
    expect(objectIdentifier("1.2.840.10045.4.3.2").toString("hex")).toBe("06082a8648ce3d040302");
    expect(integer(Uint8Array.of(0)).toString("hex")).toBe("020100");
    expect(integer(Uint8Array.of(0, 0, 0x7f)).toString("hex")).toBe("02017f");
    expect(integer(Uint8Array.of(0x80)).toString("hex")).toBe("02020080");
    expect(octetString(new Uint8Array(0x80)).subarray(0, 3).toString("hex")).toBe("048180");
    expect(octetString(new Uint8Array(0x1234)).subarray(0, 4).toString("hex")).toBe("04821234");
    expect(time(new Date("2049-12-31T23:59:59Z")).toString("latin1").slice(2)).toBe("491231235959Z");
    expect(time(new Date("2050-01-01T00:00:00Z")).toString("latin1").slice(2)).toBe("20500101000000Z");
  });
});

describe("the authority", () => {
  it.skipIf(!hasOpenssl)("issues certificates that OpenSSL verifies, for their names only", () => {
    const authority = createAuthority();
    const leaf = authority.issue({ dnsNames: ["h2.cftunnel.com", "*.example.com"] });
    const folder = mkdtempSync(join(tmpdir(), "underpass-ca-"));
    try {
      writeFileSync(join(folder, "ca.pem"), authority.certPem);
      writeFileSync(join(folder, "leaf.pem"), leaf.certPem);
      const verify = (name: string): string =>
        execFileSync(
          "openssl",
          [
            "verify",
            "-x509_strict",
            "-purpose",
            "sslserver",
            "-CAfile",
            "ca.pem",
            "-verify_hostname",
            name,
            "leaf.pem",
          ],
          { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] },
        );
      expect(verify("h2.cftunnel.com")).toContain("leaf.pem: OK");
      expect(verify("a.example.com")).toContain("leaf.pem: OK");
      expect(() => verify("quic.cftunnel.com")).toThrow(/hostname mismatch/i);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("signs with its own key and says who it is", () => {
    const authority = createAuthority();
    const ca = new X509Certificate(authority.certPem);
    const leaf = new X509Certificate(authority.issue({ dnsNames: ["a.test", "b.test"] }).certPem);
    expect(ca.ca).toBe(true);
    expect(leaf.ca).toBe(false);
    expect(leaf.checkIssued(ca)).toBe(true);
    expect(leaf.verify(ca.publicKey)).toBe(true);
    expect(leaf.subjectAltName).toBe("DNS:a.test, DNS:b.test");
    expect(leaf.verify(new X509Certificate(createAuthority().certPem).publicKey)).toBe(false);
    const serials = new Set(Array.from({ length: 20 }, () => serialOf(authority.issue({ dnsNames: ["a.test"] }))));
    expect(serials.size).toBe(20);
  });

  it.each([
    ["valid", {}, undefined],
    [
      "expired",
      { notBefore: new Date(Date.now() - 2 * DAY_MS), notAfter: new Date(Date.now() - DAY_MS) },
      "CERT_HAS_EXPIRED",
    ],
    ["not yet valid", { notBefore: new Date(Date.now() + DAY_MS) }, "CERT_NOT_YET_VALID"],
    ["for another name", { dnsNames: ["wrong.test"] }, "ERR_TLS_CERT_ALTNAME_INVALID"],
  ])("makes a certificate that is %s in a handshake", async (_name, request, code) => {
    const authority = createAuthority();
    const leaf = authority.issue({ dnsNames: ["h2.cftunnel.com"], ...request });
    expect(await handshake(authority.certPem, leaf)).toBe(code);
  });
});

function serialOf(leaf: Leaf): string {
  return new X509Certificate(leaf.certPem).serialNumber;
}

/** Connects with Node's TLS and returns the error's code, or undefined when the server was trusted. */
async function handshake(ca: string, leaf: Leaf): Promise<string | undefined> {
  const server = tls.createServer({ key: leaf.keyPem, cert: leaf.certPem }, (socket) => socket.end());
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("no address");
  try {
    return await new Promise((resolve) => {
      const socket = tls.connect({ host: "127.0.0.1", port: address.port, servername: "h2.cftunnel.com", ca });
      socket.on("secureConnect", () => {
        socket.destroy();
        resolve(undefined);
      });
      socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code));
    });
  } finally {
    server.close();
  }
}
