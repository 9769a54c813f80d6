/** How far the runs of a sweep or an evaluation are, from what lies in its folder. */
import { join } from "node:path";
import { readLocks } from "../checkpoint/lock.ts";
import { fileExists, folderExists, listFolder } from "../checkpoint/node.ts";
import { openOutput } from "../checkpoint/stores.ts";
import { readParts } from "../eval/parts-record.ts";
import { isRunFolder, readRunHead } from "../eval/run-folder.ts";

export interface StudyStatus {
  kind: "sweep" | "eval";
  output: string;
  /** The report is there. */
  finished: boolean;
  /** `stopped`: begun, and nobody is at them; `open`: not begun. */
  runs: { done: number; running: number; stopped: number; open: number; total: number };
}

type RunState = "done" | "running" | "stopped";

/** `job`: of the launch, where one is known; else parts say what they run. Undefined for what is no study. */
export async function studyStatus(
  output: string,
  job?: { kind: "sweep" | "eval"; runs: number },
): Promise<StudyStatus | undefined> {
  const parts = await readParts(output);
  const states = await runStates(output);
  const isReported =
    !parts && ["sweep.json", "comparison.json"].some((name) => fileExists(join(output, name)));
  const isRun = isRunFolder(output);
  if (!job && !parts && !isReported && !isRun) return undefined;
  const count = (state: RunState) => states.filter((each) => each === state).length;
  const [done, running, stopped] = [count("done"), count("running"), count("stopped")];
  const finished = isReported || (isRun && done === 1);
  // Points that make the same child share a run: of what is reported nothing is open.
  const wanted = finished ? 0 : (job?.runs ?? parts?.runs.length ?? 0);
  const total = Math.max(states.length, wanted);
  const kind = job?.kind ?? parts?.kind ?? (fileExists(join(output, "sweep.json")) ? "sweep" : "eval");
  return { kind, output, finished, runs: { done, running, stopped, open: total - states.length, total } };
}

/** Runs lie in `runs/` of a sweep, in the folder itself of an evaluation of several targets, or it is one. */
async function runStates(folder: string): Promise<RunState[]> {
  if (!folderExists(folder)) return [];
  const ofFolder = await stateOf(folder);
  if (ofFolder) return [ofFolder];
  const runs = join(folder, "runs");
  const within = folderExists(runs) ? runs : folder;
  const paths = listFolder(within).map((name) => join(within, name));
  const states: RunState[] = [];
  for (const path of paths) {
    const state = folderExists(path) ? await stateOf(path) : undefined;
    if (state) states.push(state);
  }
  return states;
}

/** Undefined where there is no run. */
async function stateOf(folder: string): Promise<RunState | undefined> {
  const isRun = isRunFolder(folder);
  if (isRun && (await readRunHead(folder)).summary?.complete) return "done";
  const locks = await readLocks(openOutput(folder));
  // A run takes its lock before it writes what it is: whoever holds one is at work already.
  if (locks.some(({ state }) => state !== "dead")) return "running";
  return isRun ? "stopped" : undefined;
}
