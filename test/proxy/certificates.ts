/** Self-signed certificates, made at run time. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

/** @param names as in `subjectAltName`: `DNS:origin.test,IP:127.0.0.1` */
export function selfSigned(names: string): Certificate {
  const directory = mkdtempSync(path.join(tmpdir(), "underpass-certificate-"));
  try {
    const [keyFile, certFile] = [path.join(directory, "key.pem"), path.join(directory, "cert.pem")];
    const request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=origin.test";
    const files = ["-addext", `subjectAltName=${names}`, "-keyout", keyFile, "-out", certFile];
    execFileSync("openssl", [...request.split(" "), ...files], { stdio: "ignore" });
    return { key: readFileSync(keyFile, "utf8"), cert: readFileSync(certFile, "utf8") };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
