/**
 * The journal of an unfinished build, in the folder ".chimera" of the child: the plan, and one record per
 * finished shard. A file per shard, so that parts on many machines never write to the same one; each
 * appears whole or not at all.
 */
import { BuildError } from "../base/errors.ts";
import type { OutputStore } from "../checkpoint/source.ts";
import type { BuildPlan } from "../plan/plan.ts";
import type { Outcome } from "./resolve.ts";

export const STATE_FOLDER = ".chimera";
const STATE_NAME = `${STATE_FOLDER}/state.json`;
const PLAN_NAME = `${STATE_FOLDER}/plan.json`;

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

interface State {
  format: "chimera-build";
  version: 1;
  planDigest: string;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

async function readJson<T>(target: OutputStore, name: string): Promise<T | undefined> {
  const bytes = await target.readSmall(name, 2_000_000_000);
  if (!bytes) return undefined;
  try {
    return JSON.parse(decoder.decode(bytes)) as T;
  } catch (error) {
    throw new BuildError("bad-state", `Cannot resume in "${target.location}": "${name}" is not JSON`, {
      note: "Remove the folder, or start over with --force",
      cause: error,
    });
  }
}

/** Digest of the plan whose unfinished build lies here; undefined when there is none. */
export async function stateDigest(target: OutputStore): Promise<string | undefined> {
  return (await readJson<State>(target, STATE_NAME))?.planDigest;
}

/** The plan of the unfinished build that lies here. */
export async function statePlan(target: OutputStore): Promise<string | undefined> {
  const bytes = await target.readSmall(PLAN_NAME, 2_000_000_000);
  return bytes && decoder.decode(bytes);
}

/** Marks the folder as this plan's. */
export async function beginState(target: OutputStore, plan: BuildPlan): Promise<void> {
  await target.prepare();
  if ((await stateDigest(target)) === plan.digest) return;
  await target.writeSmall(PLAN_NAME, encoder.encode(JSON.stringify(plan)));
  const state: State = { format: "chimera-build", version: 1, planDigest: plan.digest };
  await target.writeSmall(STATE_NAME, encoder.encode(`${JSON.stringify(state)}\n`));
}

function recordName(shard: string): string {
  return `${STATE_FOLDER}/${shard}.json`;
}

export async function writeRecord(target: OutputStore, record: ShardRecord): Promise<void> {
  await target.writeSmall(recordName(record.shard), encoder.encode(`${JSON.stringify(record)}\n`));
}

/** Records of the shards that are complete: published, of the right size, made from this plan. */
export async function completeShards(target: OutputStore, plan: BuildPlan): Promise<Map<string, ShardRecord>> {
  const present = new Map((await target.list()).map(({ name, byteLength }) => [name, byteLength]));
  const records = new Map<string, ShardRecord>();
  for (const { name, byteLength } of plan.shards) {
    if (present.get(name) !== byteLength) continue;
    const record = await readJson<ShardRecord>(target, recordName(name));
    if (record?.planDigest === plan.digest && record.sha256 !== "") records.set(name, record);
  }
  return records;
}

/** Removes what a build that died left under temporary names, for these shards. */
export async function removeLeftovers(target: OutputStore, shards: readonly string[]): Promise<void> {
  const mine = new Set(shards);
  for (const { name } of await target.listUnder(`${STATE_FOLDER}/`)) {
    const shard = /^\.chimera\/(.+\.safetensors)\.[^/]+\.tmp$/.exec(name)?.[1];
    if (shard && mine.has(shard)) await target.remove(name);
  }
}
