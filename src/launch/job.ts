/**
 * What is launched, as plain data: a command that is run once for each part, and what is run when all parts are done.
 *
 * Every scheduler gets the same job. A part is `…task --part I/N`; it may be run twice, killed, or run again anywhere:
 * what it makes is decided by the plan alone. Nothing is reported back: the last steps look into the folder.
 */
import { resolve } from "node:path";
import { BuildError } from "../base/errors.ts";

export const LAUNCH_FORMAT = "chimera-launch";

export type LaunchKind = "build" | "sweep" | "eval";

export interface LaunchJob {
  kind: LaunchKind;
  /** How chimera is called where the parts run: a program and its first arguments. */
  program: string[];
  /** Of chimera, without `--part`. */
  task: string[];
  tasks: number;
  /** Of a sweep or an evaluation: its runs. */
  runs?: number;
  /** Run one after the other when all parts are done. */
  finish: LaunchStep[];
  /** Folder that commands are run in. */
  cwd: string;
  /** What is made: the child's folder, that of the sweep or of the evaluation. */
  output: string;
}

export interface LaunchStep {
  /** "finish", "verify", "report": for files and tables. */
  name: string;
  command: string[];
}

/** The file `launch.json`. */
export interface LaunchRecord {
  format: typeof LAUNCH_FORMAT;
  version: 1;
  job: LaunchJob;
  /** Of a build: digest of the plan. */
  planDigest?: string;
  /** Each time that it was handed to a scheduler, the last one last. */
  submissions: LaunchSubmission[];
}

export type LaunchSubmission = { by: "local" } | SlurmSubmission;

export interface SlurmSubmission {
  by: "slurm";
  /** Job ids by step: "array", then those of the job. */
  jobs: Record<string, string>;
}

/** Arguments of chimera for one part; `index` is a number, or what a scheduler puts a number in place of. */
export function partArguments({ task, tasks }: LaunchJob, index: number | string): string[] {
  return [...task, "--part", `${index}/${tasks}`];
}

/**
 * Where everything lies that a launch needs and a child must not hold: beside the output, never in it. Of an object store in
 * the current folder.
 */
export function launchFolder(output: string): string {
  const place = output.replace(/(?<=.)\/+$/, "");
  const remote = /^([a-z][a-z0-9+.-]+):\/\/(.+)$/i.exec(place);
  if (!remote) return `${place}.launch`;
  return resolve(`${remote[1]}-${remote[2]!.replaceAll(/[^\w.-]+/g, "-")}.launch`);
}

/** Reads a launch.json. Throws BuildError for what is none. */
export function parseRecord(text: string, path: string): LaunchRecord {
  let record: LaunchRecord | undefined;
  try {
    record = JSON.parse(text) as LaunchRecord;
  } catch {
    // Told below.
  }
  const { format, version, job, submissions } = record ?? {};
  if (format === LAUNCH_FORMAT && version === 1 && job && Array.isArray(submissions)) return record!;
  const what = `it is format ${JSON.stringify(format)}, version ${JSON.stringify(version)}`;
  throw new BuildError("damaged", `Cannot read "${path}": ${what}, wanted "${LAUNCH_FORMAT}", version 1`);
}
