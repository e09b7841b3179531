/**
 * h2spec 2.2.1 against the connector. h2spec dials a server; the connector dials out. So each of h2spec's connections is
 * spliced, byte by byte, onto a fresh connection that the connector dials.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { dialHttp2 } from "../../src/edge/http2.ts";
import { createEdgeTls } from "../../src/edge/tls.ts";
import { createAuthority } from "../../src/mock-edge/ca.ts";
import { createMemoryBudget } from "../../src/protocol/memory-budget/budget.ts";
import type { EdgeConnection } from "../../src/types.ts";
import { findPeer, required, skipWithout } from "../peers.ts";
import { echoProxy, listen, silentLogger } from "./connector-parts.ts";

const h2spec = findPeer("H2SPEC_BIN");

/** 145 cases, and the one that -S adds. */
const CASES = 146;

async function startShim(): Promise<{ port: number; stop(): Promise<void> }> {
  const authority = createAuthority();
  const leaf = authority.issue({ dnsNames: ["h2.cftunnel.com"] });
  const tlsOptions = createEdgeTls({ cacert: authority.certPem, postQuantum: false });
  const stopping = new AbortController();
  const connections = new Set<EdgeConnection>();
  const waiting: ((socket: tls.TLSSocket) => void)[] = [];
  const proxy = echoProxy();

  const edge = tls.createServer({ key: leaf.keyPem, cert: leaf.certPem }, (socket) => {
    socket.on("error", () => socket.destroy());
    waiting.shift()?.(socket);
  });
  const edgePort = await listen(edge);

  const front = net.createServer({ allowHalfOpen: true }, (inbound) => {
    inbound.on("error", () => inbound.destroy());
    inbound.pause();
    waiting.push((socket) => {
      inbound.pipe(socket);
      socket.pipe(inbound);
      inbound.on("close", () => socket.destroy());
      socket.on("close", () => inbound.destroy());
    });
    dialHttp2({
      connIndex: 0,
      address: { ip: "127.0.0.1", port: edgePort, family: 4 },
      tls: tlsOptions,
      signal: stopping.signal,
      budget: createMemoryBudget(64 * 1024 * 1024),
      maxConcurrentStreams: 100,
      logger: silentLogger,
    }).then(
      (connection) => {
        connections.add(connection);
        connection.onRequest = (request) => {
          if (request.kind !== "configuration") proxy.handle(request, 0);
        };
        void connection.closed.then(() => connections.delete(connection));
      },
      () => inbound.destroy(),
    );
  });
  const port = await listen(front);
  return {
    port,
    async stop() {
      stopping.abort();
      await Promise.all([...connections].map((connection) => connection.close({ kind: "shutdown" })));
      await proxy.close();
      front.close();
      edge.close();
    },
  };
}

describe("h2spec", () => {
  it.skipIf(skipWithout(h2spec))(
    "passes every case, strict ones included",
    async () => {
      const shim = await startShim();
      const scratch = mkdtempSync(join(tmpdir(), "underpass-h2spec-"));
      const report = join(scratch, "report.xml");
      try {
        const output = await promisify(execFile)(
          required(h2spec, "H2SPEC_BIN"),
          // Case 4.2/3 sends five fields of this length in one HEADERS frame, to exceed our SETTINGS_MAX_FRAME_SIZE of 1 MiB.
          ["-h", "127.0.0.1", "-p", String(shim.port), "-S", "-o", "3", "--max-header-length", "400000", "-j", report],
          { timeout: 170_000, maxBuffer: 16 * 1024 * 1024 },
        ).catch((error: { stdout?: string }) => ({ stdout: error.stdout ?? "no output" }));
        const xml = readFileSync(report, "utf8");
        const sum = (attribute: string): number =>
          [...xml.matchAll(new RegExp(`<testsuite [^>]*\\b${attribute}="(\\d+)"`, "g"))].reduce(
            (total, match) => total + Number(match[1]),
            0,
          );
        const failures = /Failures:[\s\S]*/.exec(output.stdout)?.[0] ?? "";
        expect({ failed: sum("failures"), errors: sum("errors"), skipped: sum("skipped") }, failures).toEqual({
          failed: 0,
          errors: 0,
          skipped: 0,
        });
        expect(xml.match(/<testcase /g)?.length).toBe(CASES);
        expect(output.stdout).toContain(`${CASES} tests, ${CASES} passed, 0 skipped, 0 failed`);
      } finally {
        rmSync(scratch, { recursive: true, force: true });
        await shim.stop();
      }
    },
    180_000,
  );
});
