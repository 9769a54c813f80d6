// Runs the compiled tests with node:test. Usage: node scripts/test.mjs [words in a file's path …]
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const words = process.argv.slice(2);
const files = readdirSync(join(root, "dist/test"), { recursive: true })
  .filter((name) => name.endsWith(".test.js") && words.every((word) => name.includes(word)))
  .map((name) => join("dist/test", name))
  .sort();
if (files.length === 0) {
  console.error(`Cannot test: no file under dist/test matches ${words.join(" ")}`);
  process.exit(1);
}
// Two files at a time: many of them wait for processes and clocks. Node 20 knows the option from 20.10 on.
const [major, minor] = process.versions.node.split(".").map(Number);
const parallel = major > 20 || minor >= 10 ? ["--test-concurrency=2"] : [];
const { status } = spawnSync(process.execPath, ["--test", ...parallel, ...files], {
  cwd: root,
  stdio: "inherit",
});
process.exit(status ?? 1);
