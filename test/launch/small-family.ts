/** The small family's child in a dozen shards, for tests of launches. */
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** A recipe that merges, with shards of at most 300 kB. */
export function writeManyShards(path: string): string {
  const text = readFileSync("recipes/mini/r1t-half.yaml", "utf8").replaceAll(
    "../../models",
    resolve("models"),
  );
  writeFileSync(path, `${text}\noutput: { max_shard_size: 300KB }\n`);
  return path;
}

/** A module of the compiled tests, by its path within them. */
export function compiled(name: string): string {
  return fileURLToPath(new URL(`../${name}.js`, import.meta.url));
}

/** How a shell calls chimera so that parts wait at a gate (gated.ts) and can be disturbed at a known moment. */
export const GATED: string = `'${process.execPath}' --import '${compiled("launch/gated")}' '${compiled("build/command")}'`;
