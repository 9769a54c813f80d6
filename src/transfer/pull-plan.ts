/**
 * What is to be fetched of a checkpoint: all of it, or what a recipe's child is made from. Shards of which a part is
 * wanted get their true length and header, and holes.
 */

import { CheckpointError } from "../base/errors.ts";
import { neededExtents } from "../build/extents.ts";
import { type Checkpoint, openWholeCheckpoint } from "../checkpoint/checkpoint.ts";
import { PULLED_NAME } from "../checkpoint/pulled.ts";
import { publicLocation } from "../checkpoint/shown.ts";
import type { Store } from "../checkpoint/source.ts";
import { openStore } from "../checkpoint/stores.ts";
import { planWindows, type Window } from "../checkpoint/windows.ts";
import type { BuildPlan } from "../plan/plan.ts";

export interface PullFile {
  name: string;
  byteLength: number;
  /** Runs of bytes, each one request; all of a file that is taken whole. */
  windows: Window[];
  isWhole: boolean;
}

export interface PullPlan {
  /** Pinned, where it can be; without what is secret in it. */
  source: string;
  store: Store;
  shards: PullFile[];
  /** Files beside the shards. */
  others: { name: string; byteLength: number }[];
  /** Bytes to fetch, and what the whole checkpoint holds. */
  bytes: number;
  bytesOfAll: number;
  requests: number;
}

/** Larger files beside the shards are no part of what makes a child: figures, other formats. */
const MOST_SIDE_BYTES = 64e6;

/** All of a checkpoint. Throws CheckpointError. */
export async function planWhole(location: string): Promise<PullPlan> {
  const checkpoint = await openWholeCheckpoint(openStore(location));
  return finish(checkpoint, (_, byteLength) => planWindows([{ offset: 0, byteLength }]));
}

/** What the child of a plan is made from, of the parent with that index in it. */
export async function planNeeded(plan: BuildPlan, parent: number): Promise<PullPlan> {
  const { location } = plan.parents[parent]!;
  const checkpoint = await openWholeCheckpoint(openStore(location));
  const wanted = new Map<string, { offset: number; byteLength: number }[]>();
  for (const shard of plan.shards) {
    for (const file of neededExtents({ shard, merges: plan.merges })) {
      if (file.parent !== parent) continue;
      const known = wanted.get(file.shard) ?? [];
      for (const extent of file.extents) known.push(extent); // not spread: a shard may have a hundred thousand
      wanted.set(file.shard, known);
    }
  }
  return finish(checkpoint, (name) => {
    const header = checkpoint.shards.find((shard) => shard.name === name)!.header!;
    return planWindows([{ offset: 0, byteLength: header.dataStart }, ...(wanted.get(name) ?? [])]);
  });
}

function finish(checkpoint: Checkpoint, windowsOf: (name: string, byteLength: number) => Window[]): PullPlan {
  const shards = checkpoint.shards.map(({ name, header }): PullFile => {
    if (!header) throw new CheckpointError("missing", `Cannot pull "${name}": it is not there`);
    const windows = windowsOf(name, header.fileBytes);
    const bytes = sizeOf(windows);
    return { name, byteLength: header.fileBytes, windows, isWhole: bytes === header.fileBytes };
  });
  const others = checkpoint.files.filter(
    ({ name, byteLength }) => byteLength <= MOST_SIDE_BYTES && name !== PULLED_NAME,
  );
  const sideBytes = others.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const { store } = checkpoint;
  return {
    ...{ source: publicLocation(store.location), store, shards, others },
    bytes: sideBytes + shards.reduce((sum, { windows }) => sum + sizeOf(windows), 0),
    bytesOfAll: sideBytes + shards.reduce((sum, { byteLength }) => sum + byteLength, 0),
    requests: others.length + shards.reduce((sum, { windows }) => sum + windows.length, 0),
  };
}

export function sizeOf(windows: readonly Window[]): number {
  return windows.reduce((sum, { from, to }) => sum + to - from, 0);
}
