/**
 * Sweeps and evaluations as jobs: a part is the same command with `--part I/N`, which asks every N-th child or target, and
 * the last step is the command itself, which then finds every run and reports. What the runs are, the command says: it is
 * asked with `--dry-run --json`, so that its options are read in one place.
 */
import { BuildError } from "../base/errors.ts";
import type { LaunchJob, LaunchKind } from "./job.ts";
import { launchFolder } from "./job.ts";
import type { PreparedLaunch } from "./prepare.ts";
import { capture } from "./processes.ts";

export interface StudyRuns {
  /** Names of the runs. */
  runs: string[];
  output: string;
  /** The command that reports when all runs are there. */
  report: string[];
}

interface SaidRuns {
  runs?: string[];
  folder?: string;
  report?: string[];
}

/** Or why the command refuses. */
export async function readStudyRuns(
  words: readonly string[],
  { program, cwd }: { program: readonly string[]; cwd: string },
): Promise<StudyRuns | { status: number; stderr: string }> {
  const said = await capture([...program, ...words, "--dry-run", "--json"], { cwd });
  if (!said) throw new BuildError("not-started", `Cannot start "${program[0]}": there is no such program`);
  if (said.status !== 0) return { status: said.status ?? 1, stderr: said.stderr };
  const { runs, folder, report } = JSON.parse(said.stdout) as SaidRuns;
  if (!runs || folder === undefined)
    throw new BuildError(
      "not-started",
      `Cannot launch "${words.join(" ")}": it does not say what it would run`,
    );
  return { runs, output: folder, report: report ?? [...words] };
}

export function studyJob(
  words: readonly string[],
  {
    runs,
    output,
    report,
    program,
    cwd,
    tasks,
  }: StudyRuns & { program: readonly string[]; cwd: string; tasks: number },
): PreparedLaunch {
  const job: LaunchJob = {
    ...{ kind: words[0] as LaunchKind, program: [...program], task: [...words] },
    ...{ tasks: Math.min(tasks, runs.length), runs: runs.length },
    finish: [{ name: "report", command: [...report] }],
    ...{ cwd, output },
  };
  return { job, folder: launchFolder(output) };
}
