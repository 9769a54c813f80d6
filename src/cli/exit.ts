/**
 * From errors to exit statuses and to what people read. The only place that knows both (stack.md section 7).
 *
 * 0 done · 1 unexpected · 2 usage or recipe invalid · 3 input missing or damaged · 4 verification mismatch ·
 * 5 not enough disk or memory · 75 try again later, state saved · 130, 143 interrupted, state saved
 */
import { dirname, resolve } from "node:path";
import { CommanderError } from "commander";
import {
  BuildError,
  CheckpointError,
  EvaluationError,
  Interrupted,
  PlanError,
  type Problem,
  RecipeError,
  StudyError,
  TaskError,
} from "../base/errors.ts";
import { publicLocation } from "../checkpoint/shown.ts";
import { clean, note, paintError } from "./terminal.ts";

/** A command's own wish to end with a status, after it has said everything. */
export class ExitStatus extends Error {
  readonly status: number;
  constructor(status: number) {
    super(`exit ${status}`);
    this.status = status;
  }
}

/** A wrong use of the command line. */
export class UsageError extends Error {
  readonly note: string | undefined;
  constructor(message: string, note?: string) {
    super(message);
    this.note = note;
  }
}

/** Refuses a place where no file can be written, before the work whose result goes there. */
export function requirePlace(
  path: string,
  { folderExists }: { folderExists: (path: string) => boolean },
): void {
  if (folderExists(path)) throw new UsageError(`Cannot write "${path}": it is a folder, wanted a file`);
  if (!folderExists(dirname(resolve(path))))
    throw new UsageError(`Cannot write "${path}": its folder is not there`);
}

/** Where it is not the input that is at fault. */
const CHECKPOINT_STATUS: Record<string, number> = { "not-enough-memory": 5, context: 2, unreachable: 75 };

const BUILD_STATUS: Record<string, number> = {
  "disk-space": 5,
  "disk-full": 5,
  locked: 75,
  "parts-missing": 3,
  damaged: 3,
  "write-failed": 1,
  "no-scheduler": 3,
  scheduler: 1,
  "not-started": 1,
};

/** What trying again may mend is 75; what is wrong with an endpoint or a folder that is there, 3. */
const EVAL_STATUS: Record<string, number> = {
  locked: 75,
  "disk-space": 5,
  "disk-full": 5,
  "write-failed": 1,
  unreachable: 75,
  "too-many-failures": 75,
  incomplete: 75,
  "bad-answer": 3,
  "model-changed": 3,
  "parts-missing": 3,
  "not-authorised": 3,
  refused: 3,
  damaged: 3,
};

/** Errors that are lists of problems. */
const MANY = [RecipeError, PlanError, TaskError, StudyError];

/** Says what happened on stderr and returns the exit status. */
export function report(error: unknown, { signal }: { signal?: "SIGINT" | "SIGTERM" } = {}): number {
  if (error instanceof ExitStatus) return error.status;
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // commander has spoken
  if (error instanceof Interrupted) {
    note(`${paintError("yellow", "stopped:")} ${error.message}`);
    return signal === "SIGTERM" ? 143 : 130;
  }
  if (error instanceof UsageError) {
    say({ message: error.message, ...(error.note ? { note: error.note } : {}) });
    return 2;
  }
  if (MANY.some((kind) => error instanceof kind)) {
    sayAll((error as RecipeError).problems);
    return 2;
  }
  if (error instanceof CheckpointError || error instanceof BuildError || error instanceof EvaluationError) {
    say({ message: error.message, ...(error.note ? { note: error.note } : {}) });
    if (error instanceof BuildError) return BUILD_STATUS[error.code] ?? 2;
    if (error instanceof EvaluationError) return EVAL_STATUS[error.code] ?? 2;
    return CHECKPOINT_STATUS[error.code] ?? 3;
  }
  note(
    `${paintError("red", "internal error:")} ${withoutSecrets(error instanceof Error ? (error.stack ?? error.message) : String(error))}`,
  );
  return 1;
}

const MOST_SHOWN = 40;

function sayAll(problems: readonly Problem[]): void {
  for (const problem of problems.slice(0, MOST_SHOWN)) say(problem);
  const rest = problems.length - MOST_SHOWN;
  if (rest > 0) note(`… and ${rest} more`);
  note(`${problems.length} problem${problems.length === 1 ? "" : "s"}, nothing written`);
}

function say({ message, note: advice, file, line, column }: Omit<Problem, "code">): void {
  const place = file && line ? `${file}:${line}:${column} ` : line ? `line ${line}:${column} ` : "";
  // Several parents that cannot be opened are a line each.
  for (const line of message.split("\n"))
    note(`${paintError("red", "error:")} ${clean(withoutSecrets(place + line))}`);
  if (advice)
    note(`  ${paintError("cyan", "note:")} ${withoutSecrets(advice).split("\n").map(clean).join("\n")}`);
}

/** What people paste elsewhere: whoever made the message, no password and no signed query of a URL stands in it. */
function withoutSecrets(text: string): string {
  return text.replace(/https?:[/\\]*[^\s"']*[@?][^\s"']*/gi, publicLocation);
}
