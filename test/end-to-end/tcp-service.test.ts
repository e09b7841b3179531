/** TCP over WebSocket through a whole tunnel, with ws and, where CLOUDFLARED_BIN names one, `cloudflared access` as the visitor. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, type Hash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import net, { type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import tls from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createWebSocketStream, WebSocket } from "ws";
import { createAuthority } from "../../src/mock-edge/ca.ts";
import { type Rig, startRig } from "./start.ts";

const TOTAL = 100_000_000;
const binary = process.env.CLOUDFLARED_BIN ?? "";

let rig: Rig;
let echo: net.Server;
/** Speaks first, as SSH does, and once more when the visitor has ended. */
let banner: net.Server;
const hosts: string[] = [];

async function serve(server: net.Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

beforeAll(async () => {
  echo = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    socket.pipe(socket);
  });
  banner = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    socket.write("SSH-2.0-test\r\n");
    socket.resume().on("end", () => socket.end("goodbye\r\n"));
  });
  const echoAt = await serve(echo);
  hosts.push(echoAt);
  rig = await startRig({
    haConnections: 2,
    ingress: [
      { hostname: "ssh.example.com", service: `ssh://${await serve(banner)}` },
      { hostname: "jump.example.com", service: "bastion" },
      { service: `tcp://${echoAt}` },
    ],
  });
});

afterAll(async () => {
  await rig.stop();
  echo.close();
  banner.close();
});

function visit(hostname: string, headers: Record<string, string> = {}): WebSocket {
  return new WebSocket(rig.edge.publicUrl.replace("http", "ws"), {
    perMessageDeflate: false,
    headers: { host: hostname, ...headers },
  });
}

/** Sends random bytes and ends; resolves with the digests of what went out and what came back. */
async function roundTrip(peer: Duplex, total: number, end: () => void): Promise<{ sent: string; received: string }> {
  const sent = createHash("sha256");
  const received = createHash("sha256");
  let left = total;
  let back = 0;
  const push = (hash: Hash): void => {
    while (left > 0) {
      const chunk = randomBytes(Math.min(left, 1 + (left % 200_003)));
      hash.update(chunk);
      left -= chunk.length;
      if (!peer.write(chunk)) {
        peer.once("drain", () => push(hash));
        return;
      }
    }
  };
  const done = new Promise<void>((resolve, reject) => {
    peer.on("data", (chunk: Buffer) => {
      received.update(chunk);
      back += chunk.length;
      if (back === total) resolve();
    });
    peer.on("error", reject);
  });
  push(sent);
  await done;
  end();
  return { sent: sent.digest("hex"), received: received.digest("hex") };
}

describe("a TCP service behind a tunnel", () => {
  it("echoes 100 MB to a ws client", { timeout: 60_000 }, async () => {
    const client = visit("tcp.example.com");
    const stream = createWebSocketStream(client);
    await once(client, "open");
    const { received, sent } = await roundTrip(stream, TOTAL, () => stream.end());
    expect(received).toBe(sent);
    const [code] = (await once(client, "close")) as [number];
    expect(code).toBe(1000);
  });

  it("lets the origin speak first, and last", async () => {
    const client = visit("ssh.example.com");
    let heard = "";
    client.on("message", (data: Buffer) => {
      heard += data.toString();
      if (heard.endsWith("test\r\n")) client.close(1000);
    });
    const [code] = (await once(client, "close")) as [number];
    expect(code).toBe(1000);
    expect(heard).toBe("SSH-2.0-test\r\ngoodbye\r\n");
  });

  it("jumps to where the visitor says", async () => {
    const client = visit("jump.example.com", { "cf-access-jump-destination": hosts[0] ?? "" });
    await once(client, "open");
    client.send("over there");
    expect(String((await once(client, "message"))[0])).toBe("over there");
    client.close();
    await once(client, "close");
  });

  it("answers a browser's GET with what to do", async () => {
    const response = await fetch(rig.edge.publicUrl);
    expect(response.status).toBe(426);
    expect(await response.text()).toContain("cloudflared access tcp --hostname");
  });
});

describe.skipIf(binary === "")("cloudflared access", () => {
  const children: ChildProcess[] = [];
  const fronts: net.Server[] = [];
  const authority = createAuthority();
  let home = "";

  beforeAll(() => {
    home = mkdtempSync(join(tmpdir(), "underpass-access-"));
    writeFileSync(join(home, "ca.pem"), authority.certPem);
  });

  afterAll(async () => {
    for (const front of fronts) front.close();
    rmSync(home, { recursive: true, force: true });
    for (const child of children) {
      child.kill("SIGKILL");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    }
  });

  /** It speaks TLS with the edge, whatever its URL says. */
  async function tlsFront(publicUrl: string): Promise<string> {
    const { certPem, keyPem } = authority.issue({ dnsNames: ["localhost"] });
    const front = tls.createServer({ cert: certPem, key: keyPem }, (socket) => {
      const plain = net.connect(Number(new URL(publicUrl).port), "127.0.0.1");
      socket.pipe(plain).pipe(socket);
      socket.on("error", () => plain.destroy());
      plain.on("error", () => socket.destroy());
    });
    fronts.push(front);
    return `https://localhost:${(await serve(front)).split(":")[1]}`;
  }

  /** Starts it and connects to its local port. The mock edge routes any host that it does not know to the one tunnel. */
  async function connectThrough(publicUrl: string, args: readonly string[]): Promise<net.Socket> {
    const taken = net.createServer();
    const address = await serve(taken);
    await new Promise((resolve) => taken.close(resolve));
    const child = spawn(binary, ["access", "tcp", "--hostname", await tlsFront(publicUrl), "--url", address, ...args], {
      env: { PATH: process.env.PATH ?? "", HOME: home, SSL_CERT_FILE: join(home, "ca.pem") },
      stdio: ["ignore", "ignore", "pipe"],
    });
    children.push(child);
    const exited = once(child, "exit").then((): never => {
      throw new Error(`cloudflared ended: ${log}`);
    });
    exited.catch(() => {});
    let log = "";
    while (!log.includes("Start Websocket listener")) {
      log += String((await Promise.race([once(child.stderr, "data"), exited]))[0]);
    }
    const port = Number(address.split(":")[1]);
    for (;;) {
      const socket = net.connect({ port, host: "127.0.0.1" });
      const opened = await Promise.race([
        once(socket, "connect").then(
          () => true,
          () => false,
        ),
        exited,
      ]);
      if (opened) return socket;
      await new Promise(setImmediate);
    }
  }

  it("echoes 100 MB", { timeout: 60_000 }, async () => {
    const socket = await connectThrough(rig.edge.publicUrl, []);
    const { received, sent } = await roundTrip(socket, TOTAL, () => socket.end());
    expect(received).toBe(sent);
    await once(socket, "close");
  });

  it("names a destination to bastion", async () => {
    const bastion = await startRig({ haConnections: 1, ingress: [{ service: "bastion" }] });
    try {
      const socket = await connectThrough(bastion.edge.publicUrl, ["--destination", hosts[0] ?? ""]);
      socket.write("jump");
      expect(String((await once(socket, "data"))[0])).toBe("jump");
      socket.destroy();
    } finally {
      await bastion.stop();
    }
  });
});
