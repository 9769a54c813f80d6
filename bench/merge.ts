/** The λ = 0.5 merge of routed experts in memory: what one worker computes when no disk slows it. */
import { join } from "node:path";
import { buildShards, checkChild, makeParents, mergedElements, planFor } from "./fixture.ts";
import { memoryPlace, removeFolder } from "./places.ts";
import { printTable } from "./table.ts";
import { quickestOf } from "./timing.ts";

const NUM_EXPERTS = 40; // 2.0 GB in 4 shards

const ORDERS = { reference: "scales first", adjacent: "scale beside its weight" } as const;

export async function benchMerge(): Promise<string> {
  const rows: string[][] = [];
  for (const order of ["reference", "adjacent"] as const) {
    const place = memoryPlace(8e9);
    const parents = makeParents(place.folder, NUM_EXPERTS, order);
    for (const share of order === "reference" ? [0.5, 0.3] : [0.5]) {
      const plan = await planFor(parents, share);
      const out = join(place.folder, "out");
      const prepare = () => removeFolder(out);
      await buildShards(plan, out, { hash: true, workers: 1 });
      checkChild(plan, out);
      const build = (hash: boolean) => ({ prepare, run: () => buildShards(plan, out, { hash, workers: 1 }) });
      const times = await quickestOf({ plain: build(false), hashed: build(true) }, { rounds: 3 });
      const elements = mergedElements(plan);
      for (const [hash, seconds] of [
        ["off", times.plain],
        ["on", times.hashed],
      ] as const) {
        const speed = `${(elements / seconds / 1e9).toFixed(2)} G/s`;
        rows.push([
          place.kind,
          `λ ${1 - share} ${share}`,
          ORDERS[order],
          hash,
          `${seconds.toFixed(2)} s`,
          speed,
        ]);
      }
    }
    removeFolder(place.folder);
  }
  printTable(
    "merge: FP8, two parents, one worker",
    ["where", "weights", "file order", "hash", "time", "elements"],
    rows,
  );
  return "sampled bands equal to scalar";
}
