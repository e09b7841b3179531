/** Commands on stdin. */
import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import { controlByStdin } from "../../src/cli/stdin-control.ts";
import type { ConnectionInfo } from "../../src/connector/api.ts";
import { noReport, recordingLogger } from "../connector/fake-edge.ts";

function info(connIndex: number, state: ConnectionInfo["state"]): ConnectionInfo {
  return {
    connIndex,
    state,
    protocol: "quic",
    edgeAddress: undefined,
    connectionId: undefined,
    location: undefined,
    ...noReport,
  };
}

function control(connections: ConnectionInfo[]) {
  const stdin = new PassThrough();
  const { logger, lines } = recordingLogger();
  const asked: [connIndex: number | undefined, pause: number | undefined][] = [];
  const stop = controlByStdin({
    stdin,
    logger,
    random: () => 0.99,
    tunnel: {
      connections,
      reconnect: (connIndex, options) => {
        asked.push([connIndex, options?.pause]);
        return true;
      },
    },
  });
  return {
    asked,
    stdin,
    stop,
    /** What the log says after these bytes. */
    say: async (...chunks: string[]): Promise<string[]> => {
      lines.length = 0;
      for (const chunk of chunks) stdin.write(chunk);
      await new Promise((resolve) => setImmediate(resolve));
      return lines.map(({ message }) => message);
    },
  };
}

describe("commands on stdin", () => {
  it("reconnect replaces one of the connections that serve", async () => {
    const { asked, say } = control([info(0, "registered"), info(1, "registered"), info(2, "waiting")]);
    expect(await say("recon", "nect\r\n")).toEqual(["Replacing a connection"]);
    expect(asked).toEqual([[1, 0]]);
  });

  it("reconnect with a delay ends it for that time", async () => {
    const { asked, say } = control([info(0, "registered")]);
    await say("reconnect 1s\nreconnect  1m30s\n");
    expect(asked).toEqual([
      [0, 1_000],
      [0, 90_000],
    ]);
  });

  it.each(["reconnect soon\n", "reconnect 5\n", "reconnect -1s\n"])(
    "%j is an error that says what is right",
    async (line) => {
      const { asked, say } = control([info(0, "registered")]);
      expect(await say(line)).toEqual([expect.stringMatching(/is no duration such as 500ms/)]);
      expect(asked).toEqual([]);
    },
  );

  it("help tells the commands, as do words that are none; empty lines say nothing", async () => {
    const { say } = control([]);
    const help = ["Supported command:", "reconnect [delay]", expect.any(String)];
    expect(await say("help\n")).toEqual(help);
    expect(await say("\n  \nquit\n")).toEqual(["Unknown command", ...help]);
    expect(await say("reconnect\n")).toEqual(["There is no connection to replace"]);
  });

  it("keeps no more of an endless line than a command has", async () => {
    const { asked, say } = control([info(0, "registered")]);
    for (let i = 0; i < 100; i++) await say("x".repeat(10_000));
    expect(await say("\nreconnect\n")).toContain("Unknown command");
    expect(asked).toHaveLength(1);
  });

  it("survives a broken stdin, and lets go of it at the end", async () => {
    const { say, stdin, stop, asked } = control([info(0, "registered")]);
    stdin.emit("error", new Error("EIO"));
    await say("reconnect\n");
    stop();
    expect(stdin.destroyed).toBe(true);
    expect(asked).toHaveLength(1);
  });
});
