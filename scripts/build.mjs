// Builds everything that runs: kernels (AssemblyScript -> WASM), then TypeScript -> dist/, and the studio's page.
//
// Node 20 cannot run .ts files, so sources, tests, benchmarks and scripts are compiled together; a newer
// Node gains nothing from a second way of running the same code. Kernels are compiled only when their
// sources changed.
//
// Usage: node scripts/build.mjs [--types] [--quiet]     --types only checks types
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { MODULES } from "./kernel-modules.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const quiet = process.argv.includes("--quiet");

function run(script, ...args) {
  const stdio = quiet ? ["ignore", 2, "inherit"] : "inherit"; // tsc tells its errors on stdout
  const { status } = spawnSync(process.execPath, [script, ...args], { cwd: root, stdio });
  if (status !== 0) {
    rmSync(join(root, `.dist-${process.pid}`), { recursive: true, force: true });
    process.exit(status ?? 1);
  }
}

function newest(folder) {
  const times = readdirSync(join(root, folder)).map((name) => statSync(join(root, folder, name)).mtimeMs);
  return Math.max(...times);
}

const tsc = join(root, "node_modules/typescript/bin/tsc");
if (!existsSync(tsc)) {
  console.error("Cannot build: the development packages are missing, run npm ci --ignore-scripts first");
  process.exit(1);
}
for (const [name, { folder, binary, imports }] of Object.entries(MODULES)) {
  const embedded = join(root, binary);
  const changedAt = Math.max(...[folder, ...imports].map(newest));
  if (!existsSync(embedded) || statSync(embedded).mtimeMs < changedAt)
    run("scripts/build-kernels.mjs", name, ...(quiet ? ["--quiet"] : []));
}
if (process.argv.includes("--types")) {
  run(tsc, "--noEmit");
  run(tsc, "-p", "tsconfig.browser.json");
  run(tsc, "-p", "src/studio/tsconfig.json");
} else {
  // Into a new folder: files of deleted sources must not go on running, and whoever runs the old ones
  // meanwhile must not find half of them.
  const fresh = join(root, `.dist-${process.pid}`);
  try {
    run(tsc, "--outDir", fresh);
    run(tsc, "-p", "tsconfig.browser.json"); // checks only: scripts/build-browser.mjs bundles
    run(tsc, "-p", "src/studio/tsconfig.json");
    run("scripts/build-studio.mjs", join(fresh, "studio"), ...(quiet ? ["--quiet"] : []));
    rmSync(join(root, "dist"), { recursive: true, force: true });
    renameSync(fresh, join(root, "dist"));
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}
