import { nearest } from "./nearest.ts";

/** The keys of a configuration that decide who gets where. */
const SECTIONS = ["ingress", "originRequest"];

/** Which of them an unknown key stands for, by a slip: what is lost with it may be what keeps others out. */
export function meantSection(key: string): string | undefined {
  if (SECTIONS.includes(key) || key === "warp-routing") return undefined;
  return nearest(key, SECTIONS, 2) ?? nearest(key.replaceAll(/[-_ ]/g, ""), SECTIONS, 2);
}
