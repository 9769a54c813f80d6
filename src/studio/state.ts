/** What several pages look at: the engine, what it can do, and which checkpoints there are. */
import { signal } from "@preact/signals";
import type { CheckpointEntry, StudioInfo } from "../server/api.ts";
import type { StudioEngine } from "./engine.ts";

let used: StudioEngine | undefined;

export function setEngine(engine: StudioEngine): void {
  used = engine;
}

export function engine(): StudioEngine {
  if (!used) throw new Error("internal: the engine is asked before it is set");
  return used;
}

export const info = signal<StudioInfo | undefined>(undefined);
export const checkpoints = signal<CheckpointEntry[] | undefined>(undefined);
/** Why neither could be had. */
export const startFault = signal<unknown>(undefined);

/** Asks again what there is: at the start, and after something was built or made. */
export async function refresh(): Promise<void> {
  try {
    const [facts, entries] = await Promise.all([engine().info(), engine().checkpoints()]);
    info.value = facts;
    checkpoints.value = entries;
    startFault.value = undefined;
  } catch (error) {
    startFault.value = error;
  }
}
