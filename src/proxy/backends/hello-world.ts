/** The built-in demonstration: a listener of this process, loaded when it is first asked for. */
import type { RequestListener, UpgradeListener } from "../../types.ts";
import type { BackendFactory } from "./backend.ts";
import { createInProcessBackend } from "./in-process.ts";

/** As cloudflared writes it, whichever way it was written. */
const SERVICE = "hello_world";

const listener: RequestListener = async (request, response) => {
  const { demoListener } = await import("../hello-world/listener.ts");
  return demoListener(request, response);
};

const upgrade: UpgradeListener = async (request, socket, head) => {
  const { demoUpgrade } = await import("../hello-world/listener.ts");
  return demoUpgrade(request, socket, head);
};

export const createHelloWorldBackend: BackendFactory<"hello-world"> = (_service, options, context) => {
  const backend = createInProcessBackend({ kind: "listener", listener, upgrade }, options, context);
  return { ...backend, service: SERVICE };
};
