/**
 * Benchmarks: what is checked first and timed then (docs/BENCHMARKS.md has the tables and what they mean).
 *
 * Usage: npm run bench -- [kernels] [inference] [hash] [copy] [direct] [merge] [scaling] [plan] [reach] [runtime] [experts] [mtp] [batch] [serve] [optimiser] [grammar] [peer]     none named: all of them
 *
 * Figures are ratios where they can be: between runs of one session they move by ±10 %, between machines by
 * more. Folders: CHIMERA_BENCH_DISK (default: the system's temporary folder) and /dev/shm.
 */
import { benchBatch } from "./batch.ts";
import { benchCopy } from "./copy.ts";
import { benchDirect } from "./direct.ts";
import { benchExperts } from "./experts.ts";
import { benchGrammar } from "./grammar.ts";
import { benchHash } from "./hash.ts";
import { benchInference } from "./inference.ts";
import { benchKernels } from "./kernels.ts";
import { benchMerge } from "./merge.ts";
import { benchMtp } from "./mtp.ts";
import { benchOptimiser } from "./optimiser.ts";
import { benchPeer } from "./peer.ts";
import { removeWorkspaces } from "./places.ts";
import { benchPlan } from "./plan.ts";
import { benchReach } from "./reach.ts";
import { benchRuntime } from "./runtime.ts";
import { benchScaling } from "./scaling.ts";
import { benchServe } from "./serve.ts";
import { printFooter, printLine } from "./table.ts";

/** A section prints its table and returns what it checked, for the last line. */
const SECTIONS: Record<string, () => string | Promise<string>> = {
  kernels: benchKernels,
  inference: benchInference,
  hash: benchHash,
  copy: benchCopy,
  direct: benchDirect,
  merge: benchMerge,
  scaling: benchScaling,
  plan: benchPlan,
  reach: benchReach,
  runtime: benchRuntime,
  experts: benchExperts,
  mtp: benchMtp,
  batch: benchBatch,
  serve: benchServe,
  optimiser: benchOptimiser,
  grammar: benchGrammar,
  peer: benchPeer,
};

async function main(names: readonly string[]): Promise<number> {
  const unknown = names.find((name) => !Object.hasOwn(SECTIONS, name));
  if (unknown !== undefined) {
    console.error(`error: Cannot run "${unknown}", wanted some of ${Object.keys(SECTIONS).join(", ")}`);
    return 2;
  }
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
  process.on("exit", removeWorkspaces);
  const startedAt = performance.now();
  for (const name of names.length > 0 ? names : Object.keys(SECTIONS)) {
    const checked = await SECTIONS[name]!();
    printFooter(checked);
  }
  printLine(`${((performance.now() - startedAt) / 1000).toFixed(0)} s in all`);
  return 0;
}

process.exitCode = await main(process.argv.slice(2));
