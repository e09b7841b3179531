// `npm start`: builds, then runs the demo in this very process, so that Ctrl-C reaches it alone and its status is npm's.
import "./build.mjs";

process.argv.splice(2, process.argv.length, "demo", ...process.argv.slice(2));
await import("../dist/cli/main.js");
