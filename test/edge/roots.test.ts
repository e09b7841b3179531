import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { afterAll, describe, expect, it } from "vitest";
import { CLOUDFLARE_ROOTS } from "../../src/edge/cloudflare-roots.ts";
import { splitPem, trustAnchors } from "../../src/edge/roots.ts";
import { EdgeTlsError } from "../../src/edge/errors.ts";
import { createEdgeTls } from "../../src/edge/tls.ts";
import { createAuthority } from "../../src/mock-edge/ca.ts";

const scratch = mkdtempSync(join(tmpdir(), "underpass-roots-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function fingerprints(certificates: readonly string[]): string[] {
  return certificates.map((pem) => new X509Certificate(pem).fingerprint256.replaceAll(":", "").toLowerCase());
}

function pemFile(name: string): { path: string; pem: string } {
  const pem = createAuthority().certPem;
  const path = join(scratch, name);
  writeFileSync(path, pem);
  return { path, pem };
}

describe("Cloudflare's roots", () => {
  it("are exactly the three that are published", () => {
    expect(fingerprints(splitPem([CLOUDFLARE_ROOTS]))).toEqual([
      "aa63697a22764b67b2134ce14cb5690ea336940b93986113f49545917832d80d",
      "d3c7e85c91707fc0a12abc5d88266747aa4fa8e7b162f633ffb3c9d989947620",
      "9a1ac2b4be15f9f27eee20a734cba4e9898f61001b3bd7c84b69b56a3e25a2b9",
    ]);
  });
});

describe("trust anchors", () => {
  it("are Cloudflare's, Node's, and what the environment adds, each once", () => {
    const extra = pemFile("extra.pem");
    const bundle = pemFile("bundle.pem");
    const found = new Set(fingerprints(trustAnchors({ NODE_EXTRA_CA_CERTS: extra.path, SSL_CERT_FILE: bundle.path })));
    const expected = [...splitPem([CLOUDFLARE_ROOTS, bundle.pem]), ...tls.rootCertificates];
    // Newer versions of Node read NODE_EXTRA_CA_CERTS once, at start.
    if (!("getCACertificates" in tls)) expected.push(extra.pem);
    for (const fingerprint of fingerprints(expected)) expect(found).toContain(fingerprint);
    expect(trustAnchors({})).toHaveLength(new Set(fingerprints(trustAnchors({}))).size);
  });

  it("do without files that can't be read", () => {
    const without = trustAnchors({
      NODE_EXTRA_CA_CERTS: join(scratch, "missing"),
      SSL_CERT_FILE: join(scratch, "missing"),
    });
    expect(without.length).toBeGreaterThan(3);
  });
});

describe("createEdgeTls", () => {
  it("makes one context for the same options, another for others", () => {
    const cacert = createAuthority().certPem;
    const first = createEdgeTls({ cacert, postQuantum: false });
    expect(createEdgeTls({ cacert, postQuantum: false })).toBe(first);
    expect(createEdgeTls({ cacert: createAuthority().certPem, postQuantum: false })).not.toBe(first);
  });

  it.each(["", "not a certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])(
    "refuses the cacert %j",
    (cacert) => {
      expect(() => createEdgeTls({ cacert, postQuantum: false })).toThrow(EdgeTlsError);
      expect(() => createEdgeTls({ cacert, postQuantum: false })).toThrow(/^cacert: /);
    },
  );

  it("offers only the hybrid group when post-quantum is asked for, or says which Node.js can", () => {
    let hybrid = true;
    try {
      tls.createSecureContext({ ecdhCurve: "X25519MLKEM768" });
    } catch {
      hybrid = false;
    }
    const cacert = createAuthority().certPem;
    if (hybrid) {
      expect(createEdgeTls({ cacert, postQuantum: true }).groups).toBe("X25519MLKEM768");
      expect(createEdgeTls({ cacert, postQuantum: false }).groups).toMatch(/^X25519MLKEM768:/);
    } else {
      expect(() => createEdgeTls({ cacert, postQuantum: true })).toThrow(/Node\.js 24/);
      expect(createEdgeTls({ cacert, postQuantum: false }).groups).toBe("P-256:X25519");
    }
  });
});
