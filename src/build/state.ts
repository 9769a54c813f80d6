/**
 * The journal of an unfinished build, in the folder ".chimera" of the child: the plan, and one record per
 * finished shard. A file per shard, so that parts on many machines never write to the same one; each
 * appears whole or not at all.
 */
import { createHash } from "node:crypto";
import { type OutputStore, STATE_FOLDER } from "../checkpoint/source.ts";
import type { BuildPlan } from "../plan/plan.ts";
import type { Outlet } from "./outlet.ts";
import type { Outcome } from "./resolve.ts";

const STATE_NAME = `${STATE_FOLDER}/state.json`;
const PLAN_NAME = `${STATE_FOLDER}/plan.json`;
const FILES_NAME = `${STATE_FOLDER}/files.json`;
const OUTLET_NAME = `${STATE_FOLDER}/outlet.json`;

/** What is known of a finished shard. */
export interface ShardRecord {
  shard: string;
  byteLength: number;
  sha256: string;
  planDigest: string;
  /** Logical tensors that were computed. */
  merged: number;
  /** Those that data decided otherwise, by name. */
  decided: Record<string, Outcome>;
}

/** Whose build this is. */
export interface State {
  format: "chimera-build";
  version: 1;
  planDigest: string;
  /** Which files of the parents it reads: a plan's digest knows only their headers. */
  parents: string;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A small JSON file; undefined when it is not there or is none. Each is written whole, so it was not us. */
async function readJson<T>(target: OutputStore, name: string): Promise<T | undefined> {
  const bytes = await target.readSmall(name, 2_000_000_000);
  return bytes && parsed<T>(bytes);
}

function parsed<T>(bytes: Uint8Array): T | undefined {
  try {
    return (JSON.parse(decoder.decode(bytes)) as T | null) ?? undefined;
  } catch {
    return undefined;
  }
}

/** The state of a plan's build. Siblings share every header, so the files' identities are part of it. */
function stateOf({ digest, parents }: BuildPlan): State {
  const hash = createHash("sha256");
  for (const { name, shards } of parents) hash.update(JSON.stringify([name, shards]));
  return { format: "chimera-build", version: 1, planDigest: digest, parents: hash.digest("hex") };
}

/** Whose unfinished build lies here; undefined when there is none, "damaged" when nobody can tell. */
export async function readState(target: OutputStore): Promise<State | "damaged" | undefined> {
  // One look decides: between two, another part may make the file.
  let bytes = await target.readSmall(STATE_NAME);
  // Without links a file is there before its content is (see claim()).
  for (let tries = 0; bytes?.length === 0 && tries < 20; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    bytes = await target.readSmall(STATE_NAME);
  }
  if (!bytes) return undefined;
  const state = parsed<State>(bytes);
  if (typeof state?.planDigest === "string" && typeof state.parents === "string") return state;
  return "damaged";
}

/** Whether an unfinished build is one of this plan with these parents. */
export function isStateOf(state: State | "damaged" | undefined, plan: BuildPlan): boolean {
  if (state === undefined || state === "damaged") return false;
  return state.planDigest === plan.digest && state.parents === stateOf(plan).parents;
}

/** The plan of the unfinished build that lies here. */
export async function statePlan(target: OutputStore): Promise<string | undefined> {
  const bytes = await target.readSmall(PLAN_NAME, 2_000_000_000);
  return bytes && decoder.decode(bytes);
}

/**
 * Marks the folder as this plan's; false when another build has marked it meanwhile. Of two builds that
 * start at once, one makes the file.
 */
export async function beginState(target: OutputStore, plan: BuildPlan): Promise<boolean> {
  await target.prepare();
  const isNew = await target.claim(STATE_NAME, `${JSON.stringify(stateOf(plan))}\n`);
  if (!isNew && !isStateOf(await readState(target), plan)) return false;
  const isThere = (await target.listUnder(PLAN_NAME)).length > 0;
  if (isNew || !isThere) await target.writeSmall(PLAN_NAME, encoder.encode(JSON.stringify(plan)));
  return true;
}

/** Notes which files finishing is about to write, so that they can be told from those of others. */
export async function recordFiles(target: OutputStore, names: readonly string[]): Promise<void> {
  await target.writeSmall(FILES_NAME, encoder.encode(`${JSON.stringify(names)}\n`));
}

/** The files that a finishing which did not end may have written. */
export async function recordedFiles(target: OutputStore): Promise<string[]> {
  const names = await readJson<unknown>(target, FILES_NAME);
  return Array.isArray(names) ? names.filter((name) => typeof name === "string") : [];
}

/** Notes where shards go, so that who looks at the journal knows where those are that have left the folder. */
export async function recordOutlet(
  target: OutputStore,
  { location }: Pick<Outlet, "location">,
): Promise<void> {
  await target.writeSmall(OUTLET_NAME, encoder.encode(`${JSON.stringify({ location })}\n`));
}

/** Where the shards of this unfinished build go besides; undefined: nowhere. */
export async function recordedOutlet(target: OutputStore): Promise<string | undefined> {
  const { location } = (await readJson<{ location?: unknown }>(target, OUTLET_NAME)) ?? {};
  return typeof location === "string" ? location : undefined;
}

function recordName(shard: string): string {
  return `${STATE_FOLDER}/${shard}.json`;
}

export async function writeRecord(target: OutputStore, record: ShardRecord): Promise<void> {
  await target.writeSmall(recordName(record.shard), encoder.encode(`${JSON.stringify(record)}\n`));
}

/** Records of the shards that are complete: published (or elsewhere), of the right size, made from this plan. */
export async function completeShards(
  target: OutputStore,
  plan: BuildPlan,
  outlet?: Pick<Outlet, "holds">,
): Promise<Map<string, ShardRecord>> {
  const present = new Map((await target.list()).map(({ name, byteLength }) => [name, byteLength]));
  const records = new Map<string, ShardRecord>();
  for (const { name, byteLength } of plan.shards) {
    const isHere = present.get(name) === byteLength;
    if (!isHere && !outlet) continue;
    const record = await readJson<ShardRecord>(target, recordName(name));
    if (record?.planDigest !== plan.digest || !isWhole(record)) continue;
    if (isHere || outlet?.holds({ ...record, byteLength })) records.set(name, record);
  }
  return records;
}

/** The shards that have a record, whatever plan they were made from. */
export async function recordedShards(target: OutputStore): Promise<string[]> {
  const entries = await target.listUnder(`${STATE_FOLDER}/`);
  return entries.flatMap(({ name }) => /^\.chimera\/(.+\.safetensors)\.json$/.exec(name)?.[1] ?? []);
}

/** With a hash: a benchmark's record has none, and one that was damaged anything. */
function isWhole({ sha256, decided }: ShardRecord): boolean {
  return /^[0-9a-f]{64}$/.test(sha256) && typeof decided === "object" && decided !== null;
}

/** Removes what a build that died left under temporary names, for these shards. */
export async function removeLeftovers(target: OutputStore, shards: readonly string[]): Promise<void> {
  const mine = new Set(shards);
  for (const { name } of await target.listUnder(`${STATE_FOLDER}/`)) {
    const shard = /^\.chimera\/(.+\.safetensors)\.[^/]+\.tmp$/.exec(name)?.[1];
    if (shard && mine.has(shard)) await target.remove(name);
  }
}
