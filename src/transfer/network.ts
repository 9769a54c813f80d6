/** What a build asks of the network: bytes and requests of each parent that lies elsewhere. */
import { neededExtents } from "../build/extents.ts";
import { ggufOf } from "../checkpoint/gguf-store.ts";
import { publicLocation } from "../checkpoint/shown.ts";
import type { Store } from "../checkpoint/source.ts";
import { openStore } from "../checkpoint/stores.ts";
import { planWindows } from "../checkpoint/windows.ts";
import type { BuildPlan } from "../plan/plan.ts";
import { sizeOf } from "./pull-plan.ts";

export interface NetworkReads {
  parent: string;
  /** Without what is secret in it. */
  location: string;
  /** With what is read between what is wanted. */
  bytes: number;
  requests: number;
}

/**
 * Parents on this machine are left out, and files that lie in the Hub's cache. Headers, which planning has read, are not
 * counted.
 */
export async function networkReads(plan: BuildPlan): Promise<NetworkReads[]> {
  const reads = plan.parents.map(({ name, location }) => {
    return { parent: name, location: publicLocation(location), bytes: 0, requests: 0 };
  });
  const stores = plan.parents.map(({ location }) =>
    /^(hf|https?|s3):/i.test(location) ? openStore(location) : undefined,
  );
  if (stores.every((store) => store === undefined)) return [];
  const known = new Map<string, boolean>();
  for (const shard of plan.shards) {
    for (const { parent, shard: name, extents } of neededExtents({ shard, merges: plan.merges })) {
      const store = stores[parent];
      if (!store) continue;
      const gguf = ggufOf(store);
      const folder = gguf ? (await gguf.stored()).store : store;
      const files = gguf ? await gguf.storedExtents(name, extents) : new Map([[name, extents]]);
      for (const [file, wanted] of files) {
        const key = `${parent}/${file}`;
        const isFar = known.get(key) ?? (await isRemote(folder, file));
        known.set(key, isFar);
        if (!isFar) continue;
        const windows = planWindows(wanted);
        reads[parent]!.bytes += sizeOf(windows);
        reads[parent]!.requests += windows.length;
      }
    }
  }
  return reads.filter(({ requests }) => requests > 0);
}

/** What is near is read as it is asked for; only what is far wants to know what will be. */
async function isRemote(store: Store, file: string): Promise<boolean> {
  const source = await store.open(file);
  await source.close();
  return source.expect !== undefined;
}
