/**
 * Opening the parents of a recipe and holding them against each other: one architecture, one set of
 * shapes, usable tensors. Reads headers and config.json only.
 */
import { createHash } from "node:crypto";
import { basename, dirname, isAbsolute, join, resolve } from "node:path";
import { type Architecture, architectureOf } from "../arch/architecture.ts";
import { compareConfigs } from "../arch/compare-configs.ts";
import { CheckpointError, type Problem } from "../base/errors.ts";
import { type Checkpoint, openWholeCheckpoint } from "../checkpoint/checkpoint.ts";
import { folderExists } from "../checkpoint/node.ts";
import { isHubPlace, openStore } from "../checkpoint/stores.ts";
import { type LogicalTensor, pairTensors } from "../logical/pairs.ts";
import type { ParentRef, Recipe } from "../recipe/recipe.ts";

export interface Parent {
  name: string;
  ref: ParentRef;
  checkpoint: Checkpoint;
  arch: Architecture;
  tensors: Map<string, LogicalTensor>;
  /** Problems of single tensors: reported only for a parent that is used. */
  problems: Problem[];
}

/** Ways to say where parents lie; the recipe's own paths otherwise. */
export interface Whereabouts {
  folder?: string;
  locations?: Readonly<Record<string, string>>;
}

/** Where a parent lies: relative to the recipe's folder, or to `folder` for a recipe without a file. */
export function parentLocation(recipe: Recipe, ref: ParentRef, { folder, locations }: Whereabouts): string {
  const given = locations && Object.hasOwn(locations, ref.name) ? locations[ref.name] : undefined;
  if (given !== undefined) return given;
  if (isAbsolute(ref.path) || /^[a-z][a-z0-9+.-]+:/i.test(ref.path)) return ref.path;
  const path = join(resolve(folder ?? (recipe.file ? dirname(recipe.file) : ".")), ref.path);
  // ORG/NAME is a repository where no such folder is.
  return isHubPlace(ref.path) && !folderExists(path) ? `hf:${ref.path}` : path;
}

/** Opens all parents. Throws one CheckpointError that tells of every parent that cannot be read. */
export async function openParents(recipe: Recipe, whereabouts: Whereabouts = {}): Promise<Parent[]> {
  const parents: Parent[] = [];
  const failures: CheckpointError[] = [];
  for (const ref of recipe.parents) {
    try {
      const checkpoint = await openWholeCheckpoint(openStore(parentLocation(recipe, ref, whereabouts)));
      const arch = architectureOf(checkpoint.config);
      const label = ref.name;
      const { tensors, problems } = pairTensors(checkpoint.tensors, { label, block: arch.block });
      parents.push({ name: ref.name, ref, checkpoint, arch, tensors, problems });
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      const place = recipe.file ? ` (${recipe.file}:${ref.at.line}:${ref.at.column})` : "";
      failures.push(
        new CheckpointError(
          error.code,
          `Parent "${ref.name}"${place}: ${error.message}`,
          error.note ? { note: error.note } : {},
        ),
      );
    }
  }
  if (failures.length === 0) return parents;
  const absent = failures.some(({ code }) => code === "missing");
  const note =
    failures.find(({ note }) => note)?.note ??
    (absent ? "--parent name=folder says where a parent lies; the recipe can say it, too" : undefined);
  throw new CheckpointError(
    failures[0]!.code,
    failures.map(({ message }) => message).join("\n"),
    note ? { note } : {},
  );
}

/** Differences that keep the parents from being merged, and those worth a warning. */
export function compareParents(
  parents: readonly Parent[],
  base: Parent,
  recipe: Recipe,
): { problems: Problem[]; warnings: string[] } {
  const problems: Problem[] = [];
  const warnings: string[] = [];
  for (const other of parents) {
    if (other === base) continue;
    const at = {
      ...(recipe.file ? { file: recipe.file } : {}),
      line: other.ref.at.line,
      column: other.ref.at.column,
    };
    if (other.arch.id !== base.arch.id) {
      const message = `Cannot merge "${other.name}" with "${base.name}": architecture is ${other.arch.id}, wanted ${base.arch.id}`;
      problems.push({ code: "architecture-mismatch", message, ...at });
      continue;
    }
    for (const { key, base: wanted, other: found, affects } of compareConfigs(
      base.checkpoint.config,
      other.checkpoint.config,
    )) {
      const values = `${key} is ${JSON.stringify(found)}, in "${base.name}" it is ${JSON.stringify(wanted)}`;
      if (affects === "shape") {
        const message = `Cannot merge "${other.name}" with "${base.name}": ${values}, wanted equal`;
        problems.push({ code: "config-mismatch", message, ...at });
      } else warnings.push(`config.json of "${other.name}": ${values}; the child keeps the base's`);
    }
    if (other.arch.scaleFormat !== base.arch.scaleFormat) {
      warnings.push(
        `scale_fmt of "${other.name}" is ${other.arch.scaleFormat}, of "${base.name}" ${base.arch.scaleFormat}: ` +
          "the child's config can name only the base's; copied scales stay as they are",
      );
    }
  }
  return { problems, warnings };
}

/** SHA-256 over names, sizes and headers of all shards: what the plan was made from. */
export function checkpointDigest({ shards }: Checkpoint): string {
  const hash = createHash("sha256");
  for (const { name, header } of shards) {
    hash.update(JSON.stringify([name, header?.fileBytes, [...(header?.metadata ?? [])]]));
    hash.update(JSON.stringify(header?.tensors ?? []));
  }
  return hash.digest("hex");
}

/** The commit, when a location is one of the Hub: a snapshot in its cache, …/snapshots/<40 hex digits>, or hf:…@<…>. */
export function revisionOf(location: string): string | undefined {
  const remote = /^hf:.*@([0-9a-f]{40})$/.exec(location)?.[1];
  if (remote !== undefined) return remote;
  const isCommit = /^[0-9a-f]{40}$/.test(basename(location));
  return isCommit && basename(dirname(location)) === "snapshots" ? basename(location) : undefined;
}
