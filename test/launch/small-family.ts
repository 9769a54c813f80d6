/** The small family's child in a dozen shards, for tests of launches, and what these do with it. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "../../src/build/build.ts";
import type { BuildPlan } from "../../src/plan/plan.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { hashesOf } from "../build/support.ts";
import { sha256, type TestHub } from "../support/hub/hub-server.ts";

/** A recipe that merges, with shards of at most 300 kB. */
export function writeManyShards(path: string): string {
  const text = readFileSync("recipes/mini/r1t-half.yaml", "utf8").replaceAll(
    "../../models",
    resolve("models"),
  );
  writeFileSync(path, `${text}\noutput: { max_shard_size: 300KB }\n`);
  return path;
}

/** What a launched build is held to. */
export interface WholeChild {
  recipe: string;
  plan: BuildPlan;
  /** Of a build in one go, by name. */
  hashes: Record<string, string>;
}

export async function buildWhole(folder: string): Promise<WholeChild> {
  const recipe = writeManyShards(join(folder, "recipe.yaml"));
  const plan = await planRecipe(recipe);
  await build(plan, join(folder, "whole"));
  return { recipe, plan, hashes: hashesOf(join(folder, "whole")) };
}

/** Of the files that a repository holds, as hashesOf() has those of a folder. */
export function hashesOfRepo(hub: TestHub, name: string): Record<string, string> {
  const files = [...hub.repos.get(name)!.files].filter(([file]) => file !== ".gitattributes");
  return Object.fromEntries(files.map(([file, bytes]) => [file, sha256(bytes)]).sort());
}

/** A module of the compiled tests, by its path within them. */
export function compiled(name: string): string {
  return fileURLToPath(new URL(`../${name}.js`, import.meta.url));
}

const NODE: readonly string[] = [
  process.execPath,
  "--import",
  compiled("launch/gated"),
  compiled("build/command"),
];

/** How a shell calls chimera so that parts wait at a gate (gated.ts) and can be disturbed at a known moment. */
export const GATED: string = NODE.map((word) => (word.startsWith("--") ? word : `'${word}'`)).join(" ");

/** The same as words, with variables of gated.ts. */
export function gatedProgram(variables: Readonly<Record<string, string>>): string[] {
  return ["/usr/bin/env", ...Object.entries(variables).map(([name, value]) => `${name}=${value}`), ...NODE];
}

/** Who holds locks in a folder. */
export function lockOwners(folder: string): { pid: number; from: number; task?: string }[] {
  const state = join(folder, ".chimera");
  const names = existsSync(state) ? readdirSync(state).filter((name) => /^lock-.*\.json$/.test(name)) : [];
  return names.flatMap((name) => {
    try {
      return [JSON.parse(readFileSync(join(state, name), "utf8"))];
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return []; // let go meanwhile
      throw error;
    }
  });
}
