/**
 * The folder of a child before and after a build: what lies there, whether it may be written, and how it is
 * cleared. Files that are not ours are never touched.
 */
import { BuildError } from "../base/errors.ts";
import { formatBytes } from "../base/format.ts";
import { acquireLock } from "../checkpoint/lock.ts";
import { realLocation } from "../checkpoint/node.ts";
import { publicLocation, shown } from "../checkpoint/shown.ts";
import { type OutputStore, STATE_FOLDER } from "../checkpoint/source.ts";
import type { BuildPlan } from "../plan/plan.ts";
import { CHILD_NAME, type ChildRecord, readChildRecord } from "./child.ts";
import type { Outlet } from "./outlet.ts";
import { isStateOf, readState, recordedFiles, recordedShards, type State } from "./state.ts";

/** The output may not be a parent, nor lie inside one, nor around one. */
export function refuseParents(plan: BuildPlan, target: OutputStore): void {
  const out = realLocation(target.location);
  for (const { name, location } of plan.parents) {
    const parent = realLocation(location);
    if (!isWithin(out, parent) && !isWithin(parent, out)) continue;
    const what = out === parent ? "it is" : isWithin(out, parent) ? "it lies inside" : "it holds";
    throw new BuildError(
      "inside-parent",
      `Cannot build in "${target.location}": ${what} parent "${name}", wanted another folder`,
    );
  }
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith("/") ? folder : `${folder}/`);
}

/** What lies in the folder before a build. */
export interface Found {
  /** The very child, finished. */
  complete: boolean;
  /** Ours, and to be removed first. */
  replace: boolean;
  child: ChildRecord | undefined;
  /** Whose unfinished build lies there. */
  unfinished: State | "damaged" | undefined;
}

/** Throws BuildError for a folder that may not be written. Changes nothing. */
export async function inspectTarget(
  target: OutputStore,
  plan: BuildPlan,
  { force, outlet }: { force?: boolean; outlet?: Pick<Outlet, "holds"> },
): Promise<Found> {
  // Files before what says whose they are: other parts may begin or finish meanwhile, and mark the folder first.
  const entries = await target.list();
  const strangers = await target.strangers();
  const unfinished = await readState(target);
  const child = await readChildRecord(target);
  const found: Found = { complete: false, replace: false, child, unfinished };
  const isOurs = child !== undefined || unfinished !== undefined;
  const ours = new Set<string>([CHILD_NAME, ...plan.shards.map(({ name }) => name)]);
  for (const { name } of child?.shards ?? []) ours.add(name);
  for (const name of Object.keys(child?.files ?? {})) ours.add(name);
  if (child?.planDigest === plan.digest && !force) {
    requireSameParents(target, plan, child);
    const lost = await lostFile(target, child, outlet);
    if (lost === undefined) return { ...found, complete: true };
    // Without a journal there is nothing to go on from.
    if (unfinished === undefined) throw damaged(target, lost);
  }
  // While finishing, files appear before chimera.json does: ours, if the state says so.
  const files = entries.filter(({ name }) => !isOurs || (!ours.has(name) && unfinished === undefined));
  // Folders are in nobody's way once the folder is ours.
  const strange = files[0]?.name ?? (isOurs ? undefined : strangers[0]);
  if (strange !== undefined) {
    throw new BuildError(
      "not-empty",
      `Cannot build in "${target.location}": it holds "${shown(strange)}", wanted an empty folder`,
      {
        note: "A build never touches files that are not its own",
      },
    );
  }
  if (isOurs && !isStateOf(unfinished, plan) && !force) throw otherBuild(target, plan, found);
  return { ...found, replace: isOurs && force === true };
}

function damaged(target: OutputStore, lost: string): BuildError {
  return new BuildError(
    "damaged",
    `Cannot use "${target.location}": its file "${lost}" is missing or has another size`,
    {
      note: "The child was finished and changed since; --force builds it again",
    },
  );
}

export function otherBuild(
  target: OutputStore,
  plan: BuildPlan,
  { unfinished, child }: Partial<Found>,
): BuildError {
  const fail = (code: string, what: string, note: string) =>
    new BuildError(code, `Cannot build in "${target.location}": ${what}`, { note });
  if (unfinished === "damaged") {
    return fail("bad-state", "the state of its unfinished build is damaged", "--force starts over");
  }
  if (unfinished?.planDigest === plan.digest) {
    const what = "it holds an unfinished build whose parents were other files, or have changed since";
    return fail(
      "other-parents",
      what,
      "Its shards would not fit. Take another folder, or --force to start over",
    );
  }
  const what = unfinished ? "an unfinished build" : "a finished child";
  const digest = unfinished?.planDigest ?? child?.planDigest ?? "";
  const digests = `${digest.slice(0, 12)}…, wanted ${plan.digest.slice(0, 12)}…`;
  const note = "Recipe or parents have changed. Take another folder, or --force to replace it";
  return fail("other-build", `it holds ${what} of plan ${digests}`, note);
}

/** Checkpoints of one architecture share all that a plan reads, so elsewhere may be something else. */
function requireSameParents(target: OutputStore, plan: BuildPlan, { parents }: ChildRecord): void {
  for (const { name, location } of plan.parents) {
    const was = parents.find((parent) => parent.name === name)?.location;
    if (was === undefined || realLocation(was) === realLocation(publicLocation(location))) continue;
    throw new BuildError(
      "other-parents",
      `Cannot build in "${target.location}": it holds a finished child of this plan whose parent "${name}" lay in "${was}", wanted "${publicLocation(location)}"`,
      { note: `If it was only moved, verify --parent ${name}=… says so; --force builds the child again` },
    );
  }
}

/** A file of a finished child that is not there, or a shard of another size; unless the shard is elsewhere. */
async function lostFile(
  target: OutputStore,
  { shards, files }: ChildRecord,
  outlet: Pick<Outlet, "holds"> | undefined,
): Promise<string | undefined> {
  const present = new Map((await target.list()).map(({ name, byteLength }) => [name, byteLength]));
  const shard = shards.find(({ name, byteLength, sha256 }) => {
    return present.get(name) !== byteLength && !outlet?.holds({ shard: name, byteLength, sha256 });
  });
  return shard?.name ?? Object.keys(files).find((name) => !present.has(name));
}

/** chimera.json is written last: where it is, and nothing was lost, nothing is left to do. */
export async function isComplete(
  target: OutputStore,
  plan: BuildPlan,
  outlet?: Pick<Outlet, "holds">,
): Promise<boolean> {
  const child = await readChildRecord(target);
  return child?.planDigest === plan.digest && (await lostFile(target, child, outlet)) === undefined;
}

/** Removes the state of a finished child, left by a build that died before this last step. */
export async function sweep(target: OutputStore, plan: BuildPlan): Promise<void> {
  try {
    const lock = await acquireLock(target, { from: 0, to: plan.shards.length });
    await target.removeState();
    await lock.release();
  } catch (error) {
    if (!(error instanceof BuildError && error.code === "locked")) throw error; // its owner does it
  }
}

/** Removes what is ours. What marks it as ours goes last, so that this can be begun again. */
export async function removeOurs(
  target: OutputStore,
  plan: BuildPlan,
  { child, unfinished }: Found,
): Promise<void> {
  // A live build must not lose its state to an impatient second one.
  if (unfinished !== undefined)
    await (await acquireLock(target, { from: 0, to: plan.shards.length })).release();
  for (const name of await recordedFiles(target)) await target.remove(name);
  for (const name of await recordedShards(target)) await target.remove(name);
  for (const { name } of child?.shards ?? []) await target.remove(name);
  for (const name of Object.keys(child?.files ?? {})) await target.remove(name);
  await target.remove(CHILD_NAME);
  await target.removeState();
}

/** Room for what small files come to; they are copied last. */
const SMALL_FILES_BYTES = 64e6;

export async function checkSpace(
  target: OutputStore,
  plan: BuildPlan,
  {
    wanted,
    reclaimed,
    most = Number.POSITIVE_INFINITY,
  }: {
    wanted: readonly { byteLength: number }[];
    reclaimed: number;
    /** Shards that are on the disk at a time, when they leave it. */
    most?: number | undefined;
  },
): Promise<void> {
  const sizes = wanted.map(({ byteLength }) => byteLength).sort((a, b) => b - a);
  const needed = sizes.slice(0, most).reduce((sum, size) => sum + size, 0);
  const free = await target.freeBytes();
  if (free === undefined || needed === 0) return;
  // A child of the small kind needs no room to spare.
  const spare = Math.min(SMALL_FILES_BYTES, plan.totals.writeBytes);
  const lacking = needed + spare - free - reclaimed;
  if (lacking <= 0) return;
  throw new BuildError(
    "disk-space",
    `Cannot build in "${target.staging ?? target.location}": ${formatBytes(free + reclaimed)} are free, wanted ${formatBytes(needed + spare)}`,
    { note: `${lacking} bytes are missing` },
  );
}

/** What the build frees before it writes: at the most, since a file may hold less than its length. */
export async function reclaimable(target: OutputStore, { replace, child }: Found): Promise<number> {
  const temporary = (await target.listUnder(`${STATE_FOLDER}/`)).filter(({ name }) => name.endsWith(".tmp"));
  const names = new Set(
    replace ? [...(child?.shards ?? []).map(({ name }) => name), ...(await recordedShards(target))] : [],
  );
  const replaced = names.size === 0 ? [] : (await target.list()).filter(({ name }) => names.has(name));
  return [...temporary, ...replaced].reduce((sum, { byteLength }) => sum + byteLength, 0);
}
