/**
 * From what is named on the command line to the models that are served: checkpoints, here or elsewhere, GGUF files,
 * recipes, folders of them.
 */
import { basename, dirname, extname, join, resolve } from "node:path";
import { CheckpointError } from "../base/errors.ts";
import { namesGguf } from "../checkpoint/gguf-store.ts";
import { fileStart, folderExists, listFolder } from "../checkpoint/node.ts";
import { publicLocation } from "../checkpoint/shown.ts";
import { isHubPlace } from "../checkpoint/stores.ts";
import { namesChild } from "../library/model-source.ts";
import { PLAN_FORMAT } from "../plan/plan.ts";
import type { ServedSource } from "./served-model.ts";

/** A name may be given before it: "r1=./DeepSeek-R1". */
const NAMED = /^([\w.@:-]{1,100})=(.+)$/;
/** A recipe says what it is in its first lines; so does a plan. */
const IS_CHILD = new RegExp(`^\\s*(parents|base|rules|method)\\s*:|"format":\\s*"${PLAN_FORMAT}"`, "m");
/** llama.cpp's files name their architecture first; of a split one the first part stands for all. */
const IS_RUNNABLE_GGUF = /^GGUF.*general\.architecture.{12}deepseek2/s;
const IS_LATER_PART = /-(?!00001)\d{5}-of-\d{5}\.gguf$/i;

/**
 * Sources in the order of their names. A folder without a config.json is searched, one level deep. Throws
 * CheckpointError for a place where nothing is, and for two of one name.
 */
export function discover(
  places: readonly string[],
  created: number = Math.floor(Date.now() / 1000),
): ServedSource[] {
  const found = places.flatMap((place) => {
    const [, name, path] = NAMED.exec(place) ?? [];
    return name !== undefined && path !== undefined && !exists(place)
      ? [{ ...single(path), id: name }]
      : search(place);
  });
  const sources = found.map((source) => ({ ...source, created }));
  const ids = sources.map(({ id }) => id);
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  if (twice === undefined) return sources;
  const both = sources.filter(({ id }) => id === twice).map(({ source }) => String(source));
  throw new CheckpointError(
    "name-taken",
    `Cannot serve two models as "${twice}": ${both.join(" and ")}, wanted a name for each`,
    {
      note: `${twice}-2=${both[1]} names it otherwise`,
    },
  );
}

type Found = Omit<ServedSource, "created">;

function exists(path: string): boolean {
  return folderExists(path) || fileStart(path, 1) !== "";
}

/**
 * Whether it is no path: hf:, https:, s3:, or ORG/NAME. In a folder that is there, a name that is not is mistyped, and
 * no repository. Whether it is there is not asked.
 */
export function isElsewhere(place: string): boolean {
  return /^(hf|https?|s3):/i.test(place) || (isHubPlace(place) && !exists(place) && !exists(dirname(place)));
}

function single(path: string): Found {
  if (isElsewhere(path)) return { id: remoteId(path), kind: "checkpoint", source: path };
  const kind = namesChild(path) ? "child" : "checkpoint";
  if (!exists(path))
    throw new CheckpointError(
      "missing",
      `Cannot serve "${path}": there is nothing, wanted a checkpoint, a recipe or a folder of them`,
    );
  const last = basename(resolve(path));
  return {
    id: kind === "child" ? last.slice(0, last.length - extname(last).length) : last,
    kind,
    source: path,
  };
}

/** The last part of its name, without revision and query: what is secret stands there. */
function remoteId(place: string): string {
  const path = publicLocation(place).split(/[?#]/)[0]!;
  const parts = path.replace(/^[a-z0-9]+:\/{0,2}/i, "").split("/");
  return parts.findLast((part) => part !== "")!.replace(/@.*$/, "") || "model";
}

function search(place: string): Found[] {
  if (!folderExists(place) || isCheckpoint(place)) return [single(place)];
  const found = listFolder(place)
    .map((name) => join(place, name))
    .filter((path) => {
      if (folderExists(path)) return isCheckpoint(path);
      if (namesGguf(path)) return IS_RUNNABLE_GGUF.test(fileStart(path, 4096)) && !IS_LATER_PART.test(path);
      return namesChild(path) && IS_CHILD.test(fileStart(path, 4096));
    })
    .map(single);
  if (found.length > 0) return found.sort((a, b) => (a.id < b.id ? -1 : 1));
  throw new CheckpointError(
    "empty",
    `Cannot serve "${place}": no checkpoint and no recipe is in it, wanted one`,
  );
}

function isCheckpoint(folder: string): boolean {
  return fileStart(join(folder, "config.json"), 1) !== "";
}
