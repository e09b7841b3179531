/** Whether a way leads to an address, as far as this machine knows: nothing is sent. */
import { createSocket, type Socket } from "node:dgram";
import type { EdgeAddress } from "../types.ts";

/** No route, no address to send from, no such family in the kernel, the link is down. */
const NO_WAY: ReadonlySet<unknown> = new Set([
  "ENETUNREACH",
  "EHOSTUNREACH",
  "ENETDOWN",
  "EADDRNOTAVAIL",
  "EAFNOSUPPORT",
]);

/** Connecting a UDP socket looks the route up. Errors of another kind say nothing about it. */
export function hasRoute({ ip, port, family }: EdgeAddress): Promise<boolean> {
  return new Promise((resolve) => {
    let socket: Socket;
    try {
      socket = createSocket(family === 6 ? "udp6" : "udp4");
    } catch {
      // A machine without UDP may well have a route for TCP.
      resolve(true);
      return;
    }
    const settle = (error?: unknown): void => {
      socket.removeAllListeners();
      socket.on("error", () => {});
      socket.close();
      resolve(!(error instanceof Error && "code" in error && NO_WAY.has(error.code)));
    };
    socket.once("error", settle);
    // Node gives this error to the callback, which its types leave out.
    socket.connect(port, ip, settle);
  });
}
