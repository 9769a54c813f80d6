/**
 * A folder that holds parts of a checkpoint: what `chimera pull --only-needed-by` has fetched. Its shards have their
 * true length and headers, and holes where nothing was wanted; a list of what is there keeps anyone from reading zeros
 * for weights.
 */
import { CheckpointError } from "../base/errors.ts";
import { formatInteger } from "../base/format.ts";
import { printable } from "./shown.ts";

export const PULLED_NAME = "chimera-pull.json";

export interface PulledRecord {
  version: 1;
  /** Where it came from, pinned. */
  source: string;
  /** Runs of bytes that are there, by shard: [from, to), ascending. Shards that are whole are not named. */
  shards: Record<string, [number, number][]>;
}

/** Reads the list. Throws CheckpointError for what is none. */
export function parsePulled(text: string, path: string): PulledRecord {
  let record: Partial<PulledRecord> | undefined;
  try {
    record = JSON.parse(text) as Partial<PulledRecord>;
  } catch {
    // told below
  }
  const runs = Object.values(record?.shards ?? { "": undefined });
  if (record?.version === 1 && typeof record.source === "string" && runs.every(areRuns))
    return record as PulledRecord;
  const what = `Cannot read "${printable(path)}": it is no list of what was pulled`;
  throw new CheckpointError("damaged", what, { note: "Pull again: what is there is not fetched twice" });
}

function areRuns(value: unknown): value is [number, number][] {
  if (!Array.isArray(value)) return false;
  let last = 0;
  return value.every((run) => {
    const [from, to] = Array.isArray(run) ? run : [];
    const isRun = Number.isSafeInteger(from) && Number.isSafeInteger(to) && from >= last && to > from;
    last = to;
    return isRun;
  });
}

/** Throws CheckpointError "not-pulled" when some of these bytes are a hole. */
export function requirePulled(
  runs: readonly [number, number][],
  { offset, byteLength, name }: { offset: number; byteLength: number; name: string },
): void {
  let [low, high] = [0, runs.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (runs[middle]![1] > offset) high = middle;
    else low = middle + 1;
  }
  const run = runs[low];
  if (byteLength === 0 || (run && run[0] <= offset && run[1] >= offset + byteLength)) return;
  const bytes = `bytes ${formatInteger(offset)} to ${formatInteger(offset + byteLength)} were not pulled`;
  throw new CheckpointError("not-pulled", `Cannot read "${printable(name)}": ${bytes}`, {
    note: "The folder holds what one recipe needs: pull again with this recipe, or without --only-needed-by",
  });
}
