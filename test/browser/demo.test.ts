/** The demo page in a real browser, through the tunnel: HTTP, the WebSocket echo, the live SSE clock. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Command, startCommand } from "../end-to-end/start.ts";
import { findPeer, required, skipWithout } from "../peers.ts";

const chromium = findPeer("CHROMIUM_BIN", "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome");
const skip = skipWithout(chromium);

let demo: Command | undefined;
let url = "";

beforeAll(async () => {
  if (skip) return;
  demo = startCommand(["demo"]);
  await demo.saw("http://127.0.0.1:");
  url = /http:\/\/127\.0\.0\.1:\d+\/?/.exec(demo.output.stdout + demo.output.stderr)?.[0] ?? "";
});

afterAll(async () => {
  demo?.child.kill("SIGINT");
  if (demo !== undefined) expect(await demo.exit).toBe(0);
});

describe("the demo page", () => {
  it.skipIf(skip)(
    "works in Chromium",
    async () => {
      const { chromium: launcher } = await import("playwright-core");
      const browser = await launcher.launch({
        executablePath: required(chromium, "CHROMIUM_BIN"),
        args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"],
      });
      try {
        const page = await browser.newPage();
        const problems: string[] = [];
        page.on("pageerror", (error) => problems.push(String(error)));
        page.on("console", (message) => {
          if (message.type() === "error") problems.push(message.text());
        });
        await page.goto(url);
        await page.getByRole("heading", { level: 1 }).waitFor();

        const clock = page.locator("#clock");
        const first = await clock.textContent();
        await expect.poll(() => clock.textContent(), { timeout: 10_000 }).not.toBe(first);

        await page.getByRole("textbox").first().fill("hello through the tunnel");
        await page.getByRole("textbox").first().press("Enter");
        await page.locator("#echo-log").getByText("hello through the tunnel").first().waitFor({ timeout: 10_000 });

        if (process.env.DEMO_SCREENSHOT !== undefined)
          await page.screenshot({ path: process.env.DEMO_SCREENSHOT, fullPage: true });
        expect(problems).toEqual([]);
      } finally {
        await browser.close();
      }
    },
    60_000,
  );
});
