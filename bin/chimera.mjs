#!/usr/bin/env node
// Starts the compiled command line. In a fresh checkout, where nothing is compiled yet, compiles first.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const MINIMUM_NODE = 20;
const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const entry = join(root, "dist/src/cli/main.js");

if (Number(process.versions.node.split(".")[0]) < MINIMUM_NODE) {
  console.error(`error: Cannot run on Node ${process.versions.node}, wanted ${MINIMUM_NODE} or newer`);
  process.exit(1);
}

/** Whether this is a checkout whose sources are newer than what was compiled from them. */
function isStale() {
  if (!existsSync(join(root, "tsconfig.json"))) return false; // an installed package
  if (!existsSync(entry)) return true;
  const compiled = statSync(entry).mtimeMs;
  const sources = readdirSync(join(root, "src"), { recursive: true }).filter((name) =>
    /\.(tsx?|css|html)$/.test(name),
  );
  return sources.some((name) => statSync(join(root, "src", name)).mtimeMs > compiled);
}

if (isStale()) {
  console.error("chimera: compiling …");
  const build = join(root, "scripts/build.mjs");
  const { status } = spawnSync(process.execPath, [build, "--quiet"], { stdio: ["ignore", 2, 2] });
  if (status !== 0) process.exit(1);
}

process.stdout.on("error", (error) => {
  if (error.code === "EPIPE") process.exit(0); // chimera … | head
  console.error(`error: Cannot write to stdout: ${error.message}`);
  process.exit(1);
});
process.stderr.on("error", () => {}); // nobody listens to the progress any more: the work goes on
const { main } = await import(entry);
process.exitCode = await main(process.argv.slice(2));
