/** Chains that OpenSSL makes, and handshakes with them. */
import { execFileSync } from "node:child_process";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { NAME } from "./certificates.ts";
import { client, completed, server, shake } from "./rig.ts";

describe("a chain that OpenSSL makes", () => {
  const scratch = mkdtempSync(join(tmpdir(), "underpass-openssl-"));
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));
  const file = (name: string): string => join(scratch, name);
  const openssl = (...args: readonly string[]): void => {
    execFileSync("openssl", args, { cwd: scratch, stdio: "ignore" });
  };

  const ROOT_EXTENSIONS =
    "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n";
  const MIDDLE_EXTENSIONS =
    "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\nauthorityKeyIdentifier=keyid\nnameConstraints=critical,permitted;DNS:example.test\nextendedKeyUsage=serverAuth\n";
  const LEAF_EXTENSIONS = `basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=DNS:${NAME},DNS:*.edge.example.test\n`;

  /** An identity in `name`.pem and `name`.key. */
  function make(
    name: string,
    key: readonly string[],
    issuer: string | undefined,
    text: string,
    sign: readonly string[] = [],
  ): void {
    writeFileSync(file(`${name}.ext`), text);
    openssl("genpkey", ...key, "-out", `${name}.key`);
    const subject = ["-subj", `/C=XX/O=Test, Ltd/CN=${name}`];
    if (issuer === undefined) {
      openssl("req", "-new", "-key", `${name}.key`, ...subject, "-out", `${name}.csr`);
      openssl(
        "x509",
        "-req",
        "-in",
        `${name}.csr`,
        "-signkey",
        `${name}.key`,
        "-days",
        "2",
        "-extfile",
        `${name}.ext`,
        ...sign,
        "-out",
        `${name}.pem`,
      );
    } else {
      openssl("req", "-new", "-key", `${name}.key`, ...subject, "-out", `${name}.csr`);
      openssl(
        "x509",
        "-req",
        "-in",
        `${name}.csr`,
        "-CA",
        `${issuer}.pem`,
        "-CAkey",
        `${issuer}.key`,
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        `${name}.ext`,
        ...sign,
        "-out",
        `${name}.pem`,
      );
    }
  }

  const EC = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
  const P384 = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
  const RSA = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
  const RSA_PSS = ["-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048", "-pkeyopt", "rsa_pss_keygen_md:sha256"];
  const ED25519 = ["-algorithm", "ED25519"];

  it.each<[string, readonly string[], readonly string[], readonly string[], readonly string[]]>([
    ["ECDSA P-256", EC, EC, EC, []],
    ["ECDSA P-384, signed with SHA-384", P384, P384, P384, ["-sha384"]],
    ["RSA, signed with SHA-512", RSA, EC, RSA, ["-sha512"]],
    ["Ed25519 and mixed", EC, P384, ED25519, []],
    ["a key for RSA-PSS alone", EC, EC, RSA_PSS, []],
  ])("of %s is taken, and its key signs", (_name, top, middle, own, sign) => {
    make("root", top, undefined, ROOT_EXTENSIONS, sign);
    make("middle", middle, "root", MIDDLE_EXTENSIONS, sign);
    make("own", own, "middle", LEAF_EXTENSIONS, sign);
    const read = (name: string): string => readFileSync(file(name), "latin1");
    const chain = ["own.pem", "middle.pem"].map((name) => new X509Certificate(read(name)).raw);
    const outcome = shake({
      client: client({ roots: [read("root.pem")], time: Date.now() + 60_000 }),
      server: server({ certificateChain: chain, privateKey: createPrivateKey(read("own.key")) }),
    });
    expect(outcome.failed?.error).toBeUndefined();
    expect(completed(outcome.server)).toBe(true);
  });
});
