// Runs the compiled tests with node:test. Usage: node scripts/test.mjs [words in a file's path …]
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
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
// A file more than there are cores: many of them wait for processes and clocks. Node 20 knows the option from 20.10 on.
const [major, minor] = process.versions.node.split(".").map(Number);
const parallel = major > 20 || minor >= 10 ? [`--test-concurrency=${availableParallelism() + 1}`] : [];
// Without a terminal the log is long and often cut: what failed is told once more at its end.
const folder = mkdtempSync(join(tmpdir(), "chimera-tests-"));
const failed = join(folder, "failed.txt");
const reporters = process.stdout.isTTY
  ? []
  : [
      ...["--test-reporter=tap", "--test-reporter-destination=stdout"],
      ...["--test-reporter=./scripts/failed-tests.mjs", `--test-reporter-destination=${failed}`],
    ];
const { status } = spawnSync(process.execPath, ["--test", ...parallel, ...reporters, ...files], {
  cwd: root,
  stdio: "inherit",
  // No test asks the real Hub, not even where it names a folder that is not there: port 1 refuses at once.
  env: { ...process.env, HF_ENDPOINT: "http://127.0.0.1:1" },
});
if (reporters.length > 0) process.stdout.write(readFileSync(failed, "utf8"));
rmSync(folder, { recursive: true, force: true });
process.exitCode = status ?? 1;
