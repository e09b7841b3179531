/** Each datagram of the handshake lost in turn, both ways, alone and with the next: it completes in the time that real users wait. */
import { describe, expect, it } from "vitest";
import { HANDSHAKE_TIMEOUT } from "../../../../src/protocol/quic/limits.ts";
import { PERFECT } from "./link.ts";
import { calm, download, type Scenario } from "./scenario.ts";
import { simulate } from "./world.ts";

/** More datagrams than the largest of these handshakes has, one way. */
const DATAGRAMS = 16;

const CASES: readonly (readonly [string, Partial<Scenario>])[] = [
  ["of the usual sizes", {}],
  ["whose ClientHello fills two datagrams, as with a post-quantum key share", { helloFilling: 1_200 }],
  ["with a long chain of certificates, which waits for the client's address to be validated", { filling: 9_000 }],
  ["that begins with larger datagrams", { client: { initialMtu: 1252 }, server: { initialMtu: 1252 } }],
];

describe.each(CASES)("a handshake %s", (_, changes) => {
  for (const delay of [1, 50, 300]) {
    it(`over ${2 * delay} ms`, () => {
      const path = { ...PERFECT, delay };
      for (const toServer of [true, false]) {
        for (let first = 0; first < DATAGRAMS; first++) {
          // Two in a row, of 600 ms each, are more than the 5 seconds that a server waits.
          for (const length of delay < 300 ? [1, 2] : [1]) {
            const lossy = { ...path, drop: new Set(Array.from({ length }, (__, i) => first + i)) };
            const stats = simulate(
              calm({
                toServer: toServer ? lossy : path,
                toClient: toServer ? path : lossy,
                streams: download(5_000),
                ...changes,
              }),
            );
            expect(stats.handshakeTime).toBeLessThan(HANDSHAKE_TIMEOUT);
          }
        }
      }
    });
  }
});
