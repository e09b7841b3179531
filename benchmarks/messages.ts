/** What the benchmark's processes say to each other. */
export const SCENARIO_NAMES = [
  "saturated",
  "3000/s",
  "download",
  "upload",
  "5000 SSE",
  "WebSocket echo",
  "WebSocket 3000/s",
  "1 stream",
  "8 streams",
  "64 streams",
  "512 streams",
] as const;

export type ScenarioName = (typeof SCENARIO_NAMES)[number];

/** One scenario's figures, by unit. */
export type Measurement = Readonly<Record<string, number>>;

export type Command =
  | { readonly kind: "wait"; readonly connections: number }
  | { readonly kind: "forget" }
  | { readonly kind: "run"; readonly scenario: ScenarioName; readonly pid: number; readonly seconds: number };
