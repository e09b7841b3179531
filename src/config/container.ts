/** Whether this process runs in a container. */
import { existsSync } from "node:fs";
import type { Environment } from "./interpolate.ts";

/** Docker's, and Podman's and CRI-O's. */
const MARKS = ["/.dockerenv", "/run/.containerenv"];

export function isContainer(env: Environment, exists: (path: string) => boolean = existsSync): boolean {
  // systemd-nspawn, LXC and Podman say `container`; Kubernetes its service.
  return Boolean(env["container"] || env["KUBERNETES_SERVICE_HOST"]) || MARKS.some(exists);
}
