/**
 * What an evaluation is: config.json of a run folder. The first part decides the records, and so whether a
 * folder's run is the one that is asked for; the rest says where and by what it was made.
 */
import { createHash } from "node:crypto";
import type { GenerationSettings, Task } from "../tasks/task.ts";
import type { Asked } from "./choose-questions.ts";
import type { TargetIdentity } from "./target.ts";

export const RUN_FORMAT = "chimera-eval";

/** Who says whether an answer is a refusal. */
export type RefusalJudgeIdentity = { kind: "rules" } | { kind: "judge"; url: string; model: string };

/** What decides the records. */
export interface RunSettings {
  target: TargetIdentity;
  tasks: { name: string; digest: string }[];
  /** Questions of all tasks together; null: all there are. */
  n: number | null;
  /** SHA-256 of the names of the questions asked: the same draw, also by another version. */
  questions: string;
  seed: number;
  /** Said on top of what the tasks say. */
  generation: Partial<GenerationSettings>;
  /** Goes before every question, instead of the task's own. */
  system: string | null;
  refusals: RefusalJudgeIdentity;
  /** Answers were taken from the run of this digest, and scored again: it is never one that was asked so. */
  rescoredFrom?: string;
}

export interface RunConfig {
  format: typeof RUN_FORMAT;
  version: 1;
  /** Short, for tables. */
  name: string;
  settings: RunSettings;
  /** SHA-256 of the settings. */
  digest: string;
  numQuestions: number;
  taskFiles: Record<string, string>;
  machine: MachineFacts;
  chimera: { version: string; commit: string | null };
  /** ISO 8601, UTC. */
  startedAt: string;
}

export interface MachineFacts {
  cpu: string;
  cores: number;
  memoryBytes: number;
  system: string;
  node: string;
}

export function digestOf(settings: RunSettings): string {
  return createHash("sha256")
    .update(JSON.stringify(ordered(settings)))
    .digest("hex");
}

/** Locations say where something lies, not what it is: a moved checkpoint is the same one (fingerprint.ts). */
function ordered({ target, ...rest }: RunSettings): unknown {
  const what = target.kind === "endpoint" ? target : { ...target, location: undefined };
  return sorted({ target: what, ...rest });
}

/** With keys in order, so that equal values have equal texts. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, each]) => [key, sorted(each)]));
}

export function questionsDigest(asked: readonly Asked[]): string {
  const names = asked.map(({ task, question }) => [task.name, question.id]);
  return createHash("sha256").update(JSON.stringify(names)).digest("hex");
}

export function taskFacts(tasks: readonly Task[]): RunSettings["tasks"] {
  return tasks.map(({ name, digest }) => ({ name, digest }));
}

/** What two runs differ in, in words; empty where nothing does. */
export function settingsDifferences(held: RunSettings, wanted: RunSettings): string[] {
  const differences: string[] = [];
  const say = (what: string, a: unknown, b: unknown) => {
    const [is, should] = [JSON.stringify(sorted(a)), JSON.stringify(sorted(b))];
    if (is !== should) differences.push(`${what} ${short(is)}, wanted ${short(should)}`);
  };
  const { target: a } = held;
  const { target: b } = wanted;
  const name = (target: TargetIdentity) =>
    target.kind === "endpoint" ? `${target.url} ${target.model}` : `${target.kind} ${target.location}`;
  if (a.kind !== b.kind || name(a) !== name(b)) say("target", name(a), name(b));
  else say("the target's content", a, b);
  say(
    "tasks",
    held.tasks.map(({ name: task }) => task),
    wanted.tasks.map(({ name: task }) => task),
  );
  for (const task of wanted.tasks) {
    const before = held.tasks.find(({ name: other }) => other === task.name);
    if (before && before.digest !== task.digest) differences.push(`task "${task.name}" as it was before`);
  }
  say("n", held.n, wanted.n);
  if (held.n === wanted.n && held.seed === wanted.seed) say("questions", held.questions, wanted.questions);
  say("seed", held.seed, wanted.seed);
  say("generation", held.generation, wanted.generation);
  say("system", held.system, wanted.system);
  say("refusals", held.refusals, wanted.refusals);
  say("scored again from", held.rescoredFrom ?? null, wanted.rescoredFrom ?? null);
  return differences;
}

function short(text = "none"): string {
  return text.length > 120 ? `${text.slice(0, 117)}…` : text;
}
