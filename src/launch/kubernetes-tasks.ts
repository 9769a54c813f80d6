/**
 * What pods run: a build, a sweep or an evaluation, as commands of chimera. Every path is one that pods see.
 *
 * Kubernetes knows no order between Jobs, so the first of the last steps is there from the start and waits itself
 * (`--wait`): it sees in the folder what the parts have done.
 */
import type { LaunchKind, LaunchStep } from "./job.ts";
import { type PushWishes, placeToVerify, pushArguments } from "./prepare.ts";

/** Where pods find the files that go along with the objects. */
export const SOURCE_FOLDER = "/etc/chimera";
/** Where shards lie that go to an object store, until they are there. */
export const STAGING_FOLDER = "/staging";

export interface ClusterTask {
  kind: LaunchKind;
  /** Texts that pods find in SOURCE_FOLDER, by name. */
  files: Readonly<Record<string, string>>;
  /** Of chimera, without --part. */
  task: readonly string[];
  /** One after the other; the first waits for all parts. */
  finish: readonly LaunchStep[];
  output: string;
  /** Disk of the node for STAGING_FOLDER, in each part. Undefined: nothing is put together there. */
  stagingBytes?: number;
  /** Of the last steps, where they need less than a part: a quantity. */
  stepMemory?: string;
}

export interface ClusterBuild {
  /** Text of a recipe, or of a small plan, and what it is called in the pods. */
  source: { text: string; fileName: "recipe.yaml" | "plan.json" };
  output: string;
  parents: Readonly<Record<string, string>>;
  workers: number;
  /** Of an object store: bytes of the largest shard. */
  shardBytes: number;
  verify: boolean;
  verifyAll?: boolean;
  /** Seconds that finishing waits for all parts. */
  waitSeconds: number;
  push?: PushWishes;
}

export function clusterBuild(wishes: ClusterBuild): ClusterTask {
  const { source, output, parents, workers, shardBytes, verify, verifyAll, waitSeconds, push } = wishes;
  // A plan has its parents in it.
  const moved = source.fileName === "plan.json" ? [] : Object.entries(parents);
  const isStaged = isObjectStore(output);
  const building = [
    ...["build", `${SOURCE_FOLDER}/${source.fileName}`, "-o", output],
    ...moved.flatMap(([parent, location]) => ["--parent", `${parent}=${location}`]),
    ...(isStaged ? ["--staging", STAGING_FOLDER] : []),
    ...pushArguments(push),
  ];
  const finish: LaunchStep[] = [
    { name: "finish", command: [...building, "--finish", "--wait", String(waitSeconds)] },
  ];
  const place = placeToVerify(output, push);
  if (verify) finish.push({ name: "verify", command: ["verify", place, ...(verifyAll ? ["--all"] : [])] });
  return {
    ...{ kind: "build", files: { [source.fileName]: source.text }, output, finish },
    task: [...building, "--workers", String(workers)],
    // A worker puts one shard together at a time, and has uploaded it before it begins the next.
    ...(isStaged ? { stagingBytes: workers * shardBytes } : {}),
  };
}

export interface ClusterStudy {
  kind: "sweep" | "eval";
  /** The whole command, with paths as pods see them. */
  words: readonly string[];
  files: Readonly<Record<string, string>>;
  output: string;
  waitSeconds: number;
}

/** Reporting reads records and headers; the memory that a model takes is not for the pod that waits. */
const REPORT_MEMORY = "4Gi";

export function clusterStudy({ kind, words, files, output, waitSeconds }: ClusterStudy): ClusterTask {
  const command = [...words, "--wait", String(waitSeconds)];
  return {
    ...{ kind, files, task: [...words], output, stepMemory: REPORT_MEMORY },
    finish: [{ name: "report", command }],
  };
}

export function isObjectStore(output: string): boolean {
  return /^[a-z][a-z0-9+.-]+:\/\//i.test(output);
}
