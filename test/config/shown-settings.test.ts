import { describe, expect, it } from "vitest";
import { shownSettings } from "../../src/config/configuration-flags.ts";
import { MergedSettings } from "../../src/config/merged.ts";
import type { Setting, SettingValue } from "../../src/config/settings.ts";
import { settingsTable } from "../../src/config/settings-table.ts";
import { makeCredentials } from "./make-credentials.ts";

function shown(values: Readonly<Record<string, SettingValue>>): Readonly<Record<string, string>> {
  const layer = new Map(
    Object.entries(values).map(([name, value]): [string, Setting] => [
      name,
      { name, value, source: "flag", where: "" },
    ]),
  );
  return shownSettings(new MergedSettings(layer, new Map(), undefined));
}

describe("the settings that diagnosis shows", () => {
  it("are those that somebody chose, as a flag takes them", () => {
    const settings = { retries: 9, "grace-period": 90_000, edge: ["a:1", "b:2"], "no-tls-verify": true };
    expect(shown(settings)).toEqual({
      retries: "9",
      "grace-period": "1m30s",
      edge: "a:1,b:2",
      "no-tls-verify": "true",
    });
  });

  it("are no credentials, and hold none", () => {
    const { token } = makeCredentials();
    const secret = Buffer.from(token).toString("hex").slice(0, 20);
    const all = Object.fromEntries(settingsTable.map(({ name }) => [name, `http://user:${secret}@host/${token}`]));
    const text = JSON.stringify(shown(all));
    expect(text).toContain('"url"');
    expect(text).not.toContain('"token"');
    expect(text).not.toContain(secret);
    expect(text).not.toContain(token);
    expect(shown({ "api-email": "somebody@example.com" })).toEqual({});
    expect(shown({ url: `http://user:${secret}@host:80` })).toEqual({ url: "http://[redacted]@host:80" });
  });
});
