/**
 * Independent peers that tests speak to. A missing one is a counted skip, unless UNDERPASS_REQUIRE_PEERS=1 (CI) demands
 * it: then the test runs and fails.
 */
import { existsSync } from "node:fs";

/** The peer's path from the environment or a usual place, or undefined. */
export function findPeer(variable: string, ...usual: string[]): string | undefined {
  const named = process.env[variable];
  if (named !== undefined && named !== "") return named;
  return usual.find((path) => existsSync(path));
}

/** Whether tests against a peer are to be skipped. */
export function skipWithout(peer: string | undefined): boolean {
  return peer === undefined && process.env.UNDERPASS_REQUIRE_PEERS !== "1";
}

export function required(peer: string | undefined, variable: string): string {
  if (peer === undefined) throw new Error(`${variable} names no binary, and UNDERPASS_REQUIRE_PEERS=1 asks for it`);
  return peer;
}
