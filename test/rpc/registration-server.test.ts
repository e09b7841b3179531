import { describe, expect, it } from "vitest";
import { createRegistrationClient, type RegistrationResult } from "../../src/rpc/registration-client.ts";
import { serveRegistration } from "../../src/rpc/registration-server.ts";
import { ScriptedChannel, settled } from "./channels.ts";
import { handlers, options, registered, registration } from "./registration-fixtures.ts";

/** What a client writes before it hears anything: a bootstrap, and registerConnection on the answer to it. */
function opening(): Buffer {
  const channel = new ScriptedChannel();
  const client = createRegistrationClient(channel);
  client.register(registration(), options).catch(() => undefined);
  const bytes = Buffer.concat(channel.written);
  client.close();
  return bytes;
}

describe("registration server", () => {
  it("survives a channel that breaks while an answer is written", async () => {
    const channel = new ScriptedChannel();
    const server = serveRegistration(channel, handlers());
    channel.deliver(opening());
    channel.writeError = new Error("broken pipe");
    expect(await server.ended).toMatchObject({ code: "ERR_UNDERPASS_RPC_CLOSED" });
    expect(channel.ended).toBe(true);
  });

  it("sends no answer once the stream is closed", async () => {
    let answer: ((result: RegistrationResult) => void) | undefined;
    const channel = new ScriptedChannel();
    const registerConnection = (): Promise<RegistrationResult> =>
      new Promise((resolve) => {
        answer = resolve;
      });
    const server = serveRegistration(channel, handlers({ registerConnection }));
    channel.deliver(opening());
    expect(channel.take()).toHaveLength(1);
    channel.onEnd();
    answer?.(registered);
    await settled();
    expect(channel.take()).toStrictEqual([]);
    expect(await server.ended).toBeUndefined();
  });
});
