import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/soak/**"],
    testTimeout: 15_000,
    hookTimeout: 30_000,
    pool: "forks",
    // One for each core: by default one of them is left to vitest itself, which has little to do.
    maxWorkers: availableParallelism(),
  },
});
