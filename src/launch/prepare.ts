/**
 * The folder of a launch: the plan, written once and never changed, what is run, and the logs. It lies beside the child,
 * because finishing removes the state of a build and a child holds nothing but its own files.
 */
import { join } from "node:path";
import { BuildError } from "../base/errors.ts";
import { fileExists, readTextFile, writeFileAtomically } from "../checkpoint/node.ts";
import { makeFolder } from "../checkpoint/node-append.ts";
import { openOutput } from "../checkpoint/stores.ts";
import type { BuildPlan } from "../plan/plan.ts";
import {
  LAUNCH_FORMAT,
  type LaunchJob,
  type LaunchRecord,
  type LaunchStep,
  type LaunchSubmission,
  launchFolder,
  parseRecord,
} from "./job.ts";

export const PLAN_FILE = "plan.json";
const RECORD_FILE = "launch.json";
export const LOGS_FOLDER = "logs";

export interface PreparedLaunch {
  job: LaunchJob;
  /** Absolute path of the launch's folder. */
  folder: string;
  planDigest?: string;
}

export interface BuildWishes {
  output: string;
  tasks: number;
  /** Worker threads of each part. */
  workers?: number;
  program: readonly string[];
  verify: boolean;
  /** verify computes every merged tensor again. */
  verifyAll?: boolean;
  push?: PushWishes;
}

/** Shards that go to the Hub as they are finished. */
export interface PushWishes {
  /** ORG/NAME */
  repo: string;
  discardLocal?: boolean | undefined;
  localShards?: number | undefined;
  isPrivate?: boolean | undefined;
}

/** As options of chimera build. */
export function pushArguments(push: PushWishes | undefined): string[] {
  if (!push) return [];
  const { repo, discardLocal, localShards, isPrivate } = push;
  return [
    ...["--push", repo],
    ...(discardLocal ? ["--discard-local"] : []),
    ...(localShards === undefined ? [] : ["--local-shards", String(localShards)]),
    ...(isPrivate ? ["--private"] : []),
  ];
}

/** Where the whole child is at the end: what has left the folder is on the Hub. */
export function placeToVerify(output: string, push: PushWishes | undefined): string {
  return push?.discardLocal ? `hf:${push.repo}` : output;
}

/** The job of a build in parts. Parts beyond the number of shards would have nothing to do: there are no such. */
export function buildJob(plan: BuildPlan, wishes: BuildWishes): PreparedLaunch {
  const { location: output } = openOutput(wishes.output);
  const folder = launchFolder(output);
  const planFile = join(folder, PLAN_FILE);
  const { workers, verify, verifyAll, program, push } = wishes;
  const building = ["build", planFile, "-o", output, ...pushArguments(push)];
  const steps: LaunchStep[] = [{ name: "finish", command: [...building, "--finish"] }];
  if (verify) {
    const all = verifyAll ? ["--all"] : [];
    steps.push({ name: "verify", command: ["verify", placeToVerify(output, push), ...all] });
  }
  const job: LaunchJob = {
    ...{ kind: "build", program: [...program] },
    task: [...building, ...(workers ? ["--workers", String(workers)] : [])],
    tasks: Math.min(wishes.tasks, plan.shards.length),
    finish: steps,
    // The child's parent folder may not be there yet; that of the launch is.
    cwd: folder,
    output,
  };
  return { job, folder, planDigest: plan.digest };
}

/** Writes the plan. Throws BuildError "other-build" when the folder is that of another. */
export async function writePlanOnce({ folder }: PreparedLaunch, plan: BuildPlan): Promise<void> {
  makeFolder(folder);
  const path = join(folder, PLAN_FILE);
  if (fileExists(path)) {
    const { loadPlan } = await import("../plan/load-recipe.ts");
    const held = await loadPlan(path);
    if (held.digest === plan.digest && sameParents(held, plan)) return;
    const digests = `${held.digest.slice(0, 12)}…, wanted ${plan.digest.slice(0, 12)}…`;
    const what = `it holds the launch of another plan or of other parents: ${digests}`;
    const note = "Recipe or parents have changed. Take another output, or remove that folder";
    throw new BuildError("other-build", `Cannot launch in "${folder}": ${what}`, { note });
  }
  await writeFileAtomically(path, `${JSON.stringify(plan)}\n`);
}

function sameParents(a: BuildPlan, b: BuildPlan): boolean {
  const identity = ({ parents }: BuildPlan) =>
    JSON.stringify(parents.map(({ name, location, shards }) => [name, location, shards]));
  return identity(a) === identity(b);
}

/** Adds a submission to the launch's record, which is made where there is none. */
export async function recordSubmission(
  { folder, job, planDigest }: PreparedLaunch,
  submission: LaunchSubmission,
): Promise<void> {
  makeFolder(folder);
  const held = await readRecord(folder);
  const before = held?.submissions ?? [];
  // Of runs here nothing is to be remembered but that there were some.
  const isKnown = submission.by === "local" && before.at(-1)?.by === "local";
  const record: LaunchRecord = {
    ...{ format: LAUNCH_FORMAT, version: 1, job },
    ...(planDigest === undefined ? {} : { planDigest }),
    submissions: isKnown ? before : [...before, submission],
  };
  await writeFileAtomically(join(folder, RECORD_FILE), `${JSON.stringify(record, null, 2)}\n`);
}

/** Undefined where nothing was launched. */
export async function readRecord(folder: string): Promise<LaunchRecord | undefined> {
  const path = join(folder, RECORD_FILE);
  return fileExists(path) ? parseRecord(await readTextFile(path, 10_000_000), path) : undefined;
}
