/** What a second worker brings. */
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { formatBytes } from "../src/base/format.ts";
import { buildShards, checkChild, makeParents, planFor } from "./fixture.ts";
import { memoryPlace, removeFolder } from "./places.ts";
import { printTable } from "./table.ts";
import { quickestOf } from "./timing.ts";

const NUM_EXPERTS = 24; // 1.3 GB in 4 shards of one size

export async function benchScaling(): Promise<string> {
  const place = memoryPlace(6e9);
  const parents = makeParents(place.folder, NUM_EXPERTS, "reference");
  const rows: string[][] = [];
  for (const { what, share, hash } of [
    { what: "copy, no hash", share: 1, hash: false },
    { what: "copy", share: 1, hash: true },
    { what: "merge, no hash", share: 0.5, hash: false },
    { what: "merge", share: 0.5, hash: true },
  ]) {
    const plan = await planFor(parents, share);
    const out = join(place.folder, "out");
    const prepare = () => removeFolder(out);
    await buildShards(plan, out, { hash, workers: 2 });
    checkChild(plan, out);
    const build = (workers: number) => ({ prepare, run: () => buildShards(plan, out, { hash, workers }) });
    const { one, two } = await quickestOf({ one: build(1), two: build(2) }, { rounds: 2 });
    const speed = (seconds: number) => `${(parents.fileBytes / seconds / 1e9).toFixed(2)} GB/s`;
    rows.push([
      place.kind,
      what,
      formatBytes(parents.fileBytes),
      speed(one),
      speed(two),
      `${(one / two).toFixed(2)}×`,
    ]);
  }
  removeFolder(place.folder);
  const title = `scaling: 1 and 2 workers on ${availableParallelism()} threads`;
  printTable(title, ["where", "what", "bytes", "1 worker", "2 workers", "gain"], rows);
  return "copies equal their parents', sampled bands equal to scalar";
}
