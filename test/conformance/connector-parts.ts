/** Small parts of a connector, for tests that drive its transport by hand. */
import type { Server } from "node:net";
import { defaultOriginRequest, singleService } from "../../src/proxy/ingress/defaults.ts";
import { createProxy, type Proxy } from "../../src/proxy/proxy.ts";
import type { Logger, RequestListener } from "../../src/types.ts";

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** A proxy in front of a listener in this process. */
export function listenerProxy(listener: RequestListener): Proxy {
  return createProxy({
    ingress: singleService({ kind: "listener", listener, upgrade: undefined }, defaultOriginRequest),
    connectorId: crypto.randomUUID(),
    tags: [],
    logger: silentLogger,
    observer: { started() {}, finished() {} },
  });
}

/** Answers every request with 200 and a body, once the visitor's body has been read. */
export function echoProxy(): Proxy {
  return listenerProxy((request, response) => {
    request.resume();
    request.on("end", () => response.end("a body of some bytes, so that windows can be tried on it\n"));
  });
}

/** Listens on a free loopback port. */
export function listen(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      if (typeof address === "object" && address !== null) resolve(address.port);
    });
  });
}
