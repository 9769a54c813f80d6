/** The small family, its tasks and runs of it: what tests of evaluations share. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Target } from "../../src/eval/target.ts";
import { type EvalTargetOptions, openEvalTarget } from "../../src/library/eval-target.ts";
import type { Task } from "../../src/tasks/task.ts";
import { loadTasks } from "../../src/tasks/task-file.ts";

export const V3 = "models/mini-v3";
export const R1 = "models/mini-r1";
export const R1T = "recipes/mini/r1t.yaml";

export const mini = (): Promise<Task[]> => loadTasks(["tasks/mini"]);

/** Runs an action with a model as target, and closes it. */
export async function withTarget<T>(
  location: string,
  action: (target: Target) => Promise<T>,
  options: EvalTargetOptions = {},
): Promise<T> {
  const target = await openEvalTarget(location, options);
  try {
    return await action(target);
  } finally {
    await target.close();
  }
}

/** The text of a file of a run. */
export function fileOf(folder: string, name: string): string {
  return readFileSync(join(folder, name), "utf8");
}
