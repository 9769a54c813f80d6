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
const { status } = spawnSync(process.execPath, ["--test", ...files], { cwd: root, stdio: "inherit" });
process.exit(status ?? 1);
