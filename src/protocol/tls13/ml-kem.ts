/** ML-KEM-768 (FIPS 203): of Node.js where it has it (24.7 and later), else of a package that may be missing. */
import * as crypto from "node:crypto";

export interface MlKem {
  generateKeyPair(): { readonly publicKey: Buffer; decapsulate(ciphertext: Buffer): Buffer };
  /** Throws for what is no public key. */
  encapsulate(publicKey: Buffer): { readonly ciphertext: Buffer; readonly secret: Buffer };
}

/** The part of node:crypto that the types of older versions lack. */
interface NativeKem {
  generateKeyPairSync(type: "ml-kem-768"): { publicKey: crypto.KeyObject; privateKey: crypto.KeyObject };
  encapsulate(key: crypto.KeyObject): { sharedKey: Uint8Array; ciphertext: Uint8Array };
  decapsulate(key: crypto.KeyObject, ciphertext: Uint8Array): Uint8Array;
}

/** The part of the package that is used. */
interface PackageKem {
  keygen(): { publicKey: Uint8Array; secretKey: Uint8Array };
  encapsulate(publicKey: Uint8Array): { cipherText: Uint8Array; sharedSecret: Uint8Array };
  decapsulate(cipherText: Uint8Array, secretKey: Uint8Array): Uint8Array;
}

/** SubjectPublicKeyInfo of an ML-KEM-768 key up to its 1184 bytes (RFC 9935). */
const SPKI_HEAD = Buffer.from("308204b2300b0609608648016503040402038204a100", "hex");

const CIPHERTEXT_BYTES = 1088;

const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function hasNative(candidate: object): candidate is NativeKem {
  return "encapsulate" in candidate && "decapsulate" in candidate;
}

function nativeMlKem(native: NativeKem): MlKem {
  return {
    generateKeyPair() {
      const { publicKey, privateKey } = native.generateKeyPairSync("ml-kem-768");
      const spki = publicKey.export({ type: "spki", format: "der" });
      return {
        publicKey: spki.subarray(SPKI_HEAD.length),
        decapsulate: (ciphertext) => bufferOf(native.decapsulate(privateKey, ciphertext)),
      };
    },
    encapsulate(publicKey) {
      const key = crypto.createPublicKey({ key: Buffer.concat([SPKI_HEAD, publicKey]), type: "spki", format: "der" });
      const { sharedKey, ciphertext } = native.encapsulate(key);
      return { ciphertext: bufferOf(ciphertext), secret: bufferOf(sharedKey) };
    },
  };
}

function packageMlKem(kem: PackageKem): MlKem {
  return {
    generateKeyPair() {
      const { publicKey, secretKey } = kem.keygen();
      return {
        publicKey: bufferOf(publicKey),
        decapsulate: (ciphertext) => bufferOf(kem.decapsulate(ciphertext, secretKey)),
      };
    },
    encapsulate(publicKey) {
      const { cipherText, sharedSecret } = kem.encapsulate(publicKey);
      return { ciphertext: bufferOf(cipherText), secret: bufferOf(sharedSecret) };
    },
  };
}

/** Whether it works here. */
function works(kem: MlKem): boolean {
  try {
    const pair = kem.generateKeyPair();
    const { ciphertext, secret } = kem.encapsulate(pair.publicKey);
    return pair.decapsulate(ciphertext).equals(secret);
  } catch {
    // Such as an OpenSSL that was built without it.
    return false;
  }
}

async function find(): Promise<MlKem | undefined> {
  if (hasNative(crypto)) {
    const native = nativeMlKem(crypto);
    if (works(native)) return native;
  }
  try {
    const { ml_kem768 } = await import("@noble/post-quantum/ml-kem.js");
    const kem = packageMlKem(ml_kem768);
    // The first time takes tens of milliseconds: better now than between a server's packets.
    kem.generateKeyPair().decapsulate(Buffer.alloc(CIPHERTEXT_BYTES));
    return kem;
  } catch {
    return undefined;
  }
}

let found: Promise<MlKem | undefined> | undefined;

/** Undefined where there is none. Looked for once. */
export function loadMlKem(): Promise<MlKem | undefined> {
  found ??= find();
  return found;
}
