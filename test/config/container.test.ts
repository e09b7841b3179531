import { describe, expect, it } from "vitest";
import { isContainer } from "../../src/config/container.ts";

describe("isContainer", () => {
  it.each<[string, Record<string, string>, string[], boolean]>([
    ["nothing says so", {}, [], false],
    ["Docker's mark", {}, ["/.dockerenv"], true],
    ["Podman's mark", {}, ["/run/.containerenv"], true],
    ["the variable of Podman, LXC and systemd-nspawn", { container: "podman" }, [], true],
    ["Kubernetes", { KUBERNETES_SERVICE_HOST: "10.0.0.1" }, [], true],
    ["an empty variable", { container: "" }, [], false],
  ])("%s: %j, %j", (_name, env, files, expected) => {
    expect(isContainer(env, (path) => files.includes(path))).toBe(expected);
  });
});
