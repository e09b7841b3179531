/** A `ping` of the test's own, in a folder that stands for PATH. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

export class FakePing {
  readonly folder = mkdtempSync(join(tmpdir(), "underpass-ping-"));
  readonly env: NodeJS.ProcessEnv = { PATH: this.folder };

  /** `script` is for sh, without PATH; the call's arguments have been written down before it. */
  constructor(script = "exit 0", names: readonly string[] = ["ping"]) {
    onTestFinished(() => rmSync(this.folder, { recursive: true, force: true }));
    for (const name of names) {
      const file = join(this.folder, name);
      writeFileSync(file, `#!/bin/sh\necho "${name} $*" >> "${this.folder}/calls"\n${script}\n`);
      chmodSync(file, 0o755);
    }
  }

  /** One line a call. */
  get calls(): readonly string[] {
    const file = join(this.folder, "calls");
    return existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : [];
  }

  read(name: string): string {
    return readFileSync(join(this.folder, name), "utf8");
  }

  /** For a script that waits for it. */
  touch(name: string): void {
    writeFileSync(join(this.folder, name), "");
  }
}
