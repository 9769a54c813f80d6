/** A copy-only child (R1T's recipe) against `cp -r` of as many bytes, each until the bytes are on the disk. */
import { execFileSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { formatBytes } from "../src/base/format.ts";
import type { BuildPlan } from "../src/plan/plan.ts";
import { buildShards, checkChild, makeParents, type Parents, planFor } from "./fixture.ts";
import { diskPlace, dropCaches, memoryPlace, type Place, removeFolder, sync } from "./places.ts";
import { printTable } from "./table.ts";
import { quickestOf } from "./timing.ts";

/** On disk 5.2 GB in 4 shards, so that start-up is a small part of it; in memory 2.0 GB. */
const NUM_EXPERTS = { disk: 112, tmpfs: 40 };

export async function benchCopy(): Promise<string> {
  const rows: string[][] = [];
  for (const place of [diskPlace(), memoryPlace(8e9)]) {
    const parents = makeParents(place.folder, NUM_EXPERTS[place.kind], "reference");
    const plan = await planFor(parents, 1);
    rows.push(...(await race(place, parents, plan)));
    removeFolder(place.folder);
  }
  printTable(
    "copy: R1T's recipe against cp -r",
    ["where", "what", "bytes", "time", "speed", "of cp's time"],
    rows,
  );
  return "copied tensors equal their parents'";
}

async function race(place: Place, parents: Parents, plan: BuildPlan): Promise<string[][]> {
  const out = join(place.folder, "out");
  await buildShards(plan, out, { hash: true, workers: 1 });
  checkChild(plan, out);
  const isDisk = place.kind === "disk";
  const isCold = isDisk && dropCaches();
  const prepare = () => {
    removeFolder(out);
    if (isDisk) sync();
    if (isCold) dropCaches();
  };
  const durable = (run: () => unknown) => async () => {
    await run();
    if (isDisk) sync();
  };
  const build = (hash: boolean, workers: number) => ({
    prepare,
    run: durable(() => buildShards(plan, out, { hash, workers })),
  });
  const cp = { prepare, run: durable(() => execFileSync("cp", ["-r", parents.r1, out])) };
  const times = await quickestOf(
    { cp, plain: build(false, 1), hashed: build(true, 1), usual: build(true, availableParallelism()) },
    { rounds: 3 },
  );
  const where = isDisk ? `disk, ${isCold ? "cold" : "warm"}, synced` : place.kind;
  const row = (what: string, seconds: number) => [
    ...[where, what, formatBytes(parents.fileBytes), `${seconds.toFixed(2)} s`],
    `${(parents.fileBytes / seconds / 1e9).toFixed(2)} GB/s`,
    `${(seconds / times.cp).toFixed(2)}×`,
  ];
  return [
    row("cp -r", times.cp),
    row("build, 1 worker, no hash", times.plain),
    row("build, 1 worker", times.hashed),
    row(`build as usual: ${availableParallelism()} workers`, times.usual),
  ];
}
