/** Planning children of the real size, 91,991 tensors in 163 shards: time and memory of a process that plans. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { V3_CONFIG_TEXT } from "../scripts/make-fullsize.ts";
import { formatInteger } from "../src/base/format.ts";
import { planRecipe } from "../src/plan/plan-recipe.ts";
import { parseRecipe } from "../src/recipe/parse.ts";
import { writeParent } from "./parents/write.ts";
import { diskPlace, removeFolder } from "./places.ts";
import { printTable } from "./table.ts";

const ROUNDS = 3;

interface Measured {
  tensors: number;
  shards: number;
  seconds: number;
  peakBytes: number;
}

export function benchPlan(): string {
  const { folder } = diskPlace();
  for (const [name, seed] of [
    ["v3", 1],
    ["r1", 2],
  ] as const) {
    writeParent(join(folder, name), {
      configText: V3_CONFIG_TEXT,
      seed,
      filled: new Set(),
      thinks: name === "r1",
    });
  }
  const rows = [1, 0.5].map((share) => {
    const runs = Array.from({ length: ROUNDS }, () => measure(folder, share));
    for (const { tensors, shards } of runs) assert.deepEqual([tensors, shards], [91_991, 163]);
    const seconds = Math.min(...runs.map((run) => run.seconds));
    const peakBytes = Math.max(...runs.map((run) => run.peakBytes));
    const what = share === 1 ? "R1T: all copied" : "λ 0.5: 89,088 computed";
    return [
      what,
      formatInteger(runs[0]!.tensors),
      `${seconds.toFixed(2)} s`,
      `${(peakBytes / 1e6).toFixed(0)} MB`,
    ];
  });
  removeFolder(folder);
  printTable("plan: two parents of 689 GB", ["recipe", "tensors", "time", "peak memory"], rows);
  return "91,991 tensors in 163 shards";
}

function measure(folder: string, share: number): Measured {
  const text = execFileSync(process.execPath, [fileURLToPath(import.meta.url), folder, String(share)], {
    encoding: "utf8",
  });
  return JSON.parse(text) as Measured;
}

/** The process that is measured: this file, run by itself. */
async function planAndReport(folder: string, share: string): Promise<void> {
  const startedAt = performance.now();
  const text = `version: 1\nparents: { v3: v3, r1: r1 }\nbase: v3\nrules:\n  - tensors: routed-experts\n    weights: { r1: ${share} }\n`;
  const plan = await planRecipe(parseRecipe(text, { file: "bench.yaml" }), { folder });
  const seconds = (performance.now() - startedAt) / 1000;
  const peakBytes = process.resourceUsage().maxRSS * 1024;
  const measured: Measured = {
    tensors: plan.totals.tensors.all,
    shards: plan.shards.length,
    seconds,
    peakBytes,
  };
  process.stdout.write(JSON.stringify(measured));
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  await planAndReport(process.argv[2]!, process.argv[3]!);
