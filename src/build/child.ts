/** chimera.json: what a child is made of, so that it can be checked and made again. No times, no luck. */
import { BuildError, CheckpointError } from "../base/errors.ts";
import { VERSION } from "../base/version.ts";
import { publicLocation } from "../checkpoint/shown.ts";
import type { Store } from "../checkpoint/source.ts";
import type { BuildPlan } from "../plan/plan.ts";
import type { Outcome } from "./resolve.ts";
import type { ShardRecord } from "./state.ts";

export const CHILD_NAME = "chimera.json";

export interface ChildRecord {
  format: "chimera-child";
  version: 1;
  /** Version of the toolkit that built it. */
  tool: string;
  planDigest: string;
  /** The recipe's text, verbatim. */
  recipe: string;
  recipeFile?: string;
  parents: { name: string; location: string; digest: string; revision?: string }[];
  base: string;
  tensors: { all: number; copied: number; merged: number };
  shards: { name: string; byteLength: number; sha256: string }[];
  /** SHA-256 of every other file. */
  files: Record<string, string>;
  /** Logical tensors of the merge path that data decided, by outcome. */
  decided: Partial<Record<Outcome, string[]>>;
}

export function childRecord(
  plan: BuildPlan,
  records: ReadonlyMap<string, ShardRecord>,
  files: ReadonlyMap<string, string>,
): ChildRecord {
  const decided: Partial<Record<Outcome, string[]>> = {};
  const seen = new Set<string>();
  for (const { name } of plan.shards) {
    for (const [tensor, outcome] of Object.entries(records.get(name)!.decided)) {
      if (seen.has(tensor)) continue; // weight and scale in different shards
      seen.add(tensor);
      decided[outcome] ??= [];
      decided[outcome].push(tensor);
    }
  }
  return {
    format: "chimera-child",
    version: 1,
    tool: VERSION,
    planDigest: plan.digest,
    recipe: plan.recipe,
    ...(plan.recipeFile ? { recipeFile: baseName(plan.recipeFile) } : {}),
    parents: plan.parents.map(({ name, location, digest, revision }) => ({
      name,
      location: publicLocation(location),
      digest,
      ...(revision ? { revision } : {}),
    })),
    base: plan.parents[plan.base]!.name,
    tensors: plan.totals.tensors,
    shards: plan.shards.map(({ name, byteLength }) => ({
      name,
      byteLength,
      sha256: records.get(name)!.sha256,
    })),
    files: Object.fromEntries([...files].sort(([a], [b]) => (a < b ? -1 : 1))),
    decided,
  };
}

function baseName(path: string): string {
  return path.split(/[/\\]/).at(-1)!;
}

/** Reads a finished child's record; undefined when there is none. Throws for one that is damaged. */
export async function readChildRecord(store: Store): Promise<ChildRecord | undefined> {
  const bytes = await store.readSmall(CHILD_NAME, 500_000_000);
  if (!bytes) return undefined;
  let record: ChildRecord;
  try {
    record = JSON.parse(new TextDecoder().decode(bytes)) as ChildRecord;
  } catch (error) {
    throw new CheckpointError(
      "child-json",
      `Cannot read "${CHILD_NAME}" of "${store.label}": it is not JSON`,
      {
        cause: error,
      },
    );
  }
  if (record?.format !== "chimera-child" || !isWhole(record)) {
    throw new CheckpointError(
      "child-json",
      `Cannot read "${CHILD_NAME}" of "${store.label}": it is incomplete`,
    );
  }
  if (record.version !== 1) {
    throw new BuildError("child-version", `Cannot read "${CHILD_NAME}": version ${record.version}, wanted 1`);
  }
  return record;
}

function isWhole({ planDigest, recipe, base, parents, shards, files }: Partial<ChildRecord>): boolean {
  const areTexts = (...values: unknown[]) => values.every((value) => typeof value === "string");
  return (
    areTexts(planDigest, recipe, base) &&
    Array.isArray(parents) &&
    parents.every((parent) => areTexts(parent?.name, parent?.location, parent?.digest)) &&
    Array.isArray(shards) &&
    shards.every((shard) => areTexts(shard?.name, shard?.sha256) && Number.isSafeInteger(shard.byteLength)) &&
    typeof files === "object" &&
    files !== null &&
    areTexts(...Object.values(files))
  );
}
