/**
 * The errors of the world: what a file, a recipe or a disk can do wrong.
 *
 * Messages read `Cannot ‹act› "‹object›": ‹what is›, wanted ‹what should be›`, name both values and
 * carry a stable code for scripts; a note says what to do. `TypeError` and `RangeError` stay for a
 * caller's mistake, the prefix `internal:` for a bug of ours. Only cli/ turns classes into exit statuses.
 */

/** One thing that keeps a recipe, a plan or a build from going on. Plain data. */
export interface Problem {
  /** Stable, kebab-case, for scripts: "unknown-key", "shape-mismatch" … */
  code: string;
  /** What could not be done, to what, and both values. One sentence, no final stop. */
  message: string;
  /** What the reader can do about it. */
  note?: string;
  /** Where it stands, when it stands in a file. Line and column count from 1. */
  file?: string;
  line?: number;
  column?: number;
  /** Where it stands, when it stands in a JSON Schema: properties.age.multipleOf. */
  path?: string;
}

/** One failure with a code: a class for each kind of thing that fails. */
class CodedError extends Error {
  readonly code: string;
  readonly note: string | undefined;

  constructor(code: string, message: string, options: { note?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.note = options.note;
  }
}

/** A checkpoint that is missing, malformed, incomplete or changed while it was read. */
export class CheckpointError extends CodedError {
  override name = "CheckpointError";
}

/** Several problems at once: a class for each phase, so that callers can tell them apart. */
class ProblemsError extends Error {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(problems.map(({ message }) => message).join("\n"));
    this.problems = problems;
  }
}

/** Everything that is wrong with a recipe: all of it, not the first of it. */
export class RecipeError extends ProblemsError {
  override name = "RecipeError";
}

/** Everything that keeps a recipe from becoming a plan for these parents. */
export class PlanError extends ProblemsError {
  override name = "PlanError";
}

/** Everything that is wrong with a task: a set of questions and how answers are scored. */
export class TaskError extends ProblemsError {
  override name = "TaskError";
}

/** Everything that is wrong with a study: the file of a sweep or of a search space. */
export class StudyError extends ProblemsError {
  override name = "StudyError";
}

/** Everything that keeps a grammar, or a JSON Schema, from deciding what a model may say. */
export class GrammarError extends ProblemsError {
  override name = "GrammarError";
}

/** An evaluation that cannot start or go on: an endpoint that fails, a run folder of other settings. */
export class EvaluationError extends CodedError {
  override name = "EvaluationError";
}

/** A build that cannot start or go on: a folder in use, a full disk, a value that is not finite. */
export class BuildError extends CodedError {
  override name = "BuildError";
}

/** The caller's AbortSignal fired; whatever was complete is kept. */
export class Interrupted extends Error {
  override name = "Interrupted";
}
