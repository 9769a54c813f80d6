/**
 * What the files of sweeps and searches share: the recipe they start from, and which questions are asked. Paths are
 * relative to the file.
 */
import { dirname, isAbsolute, join } from "node:path";
import { type Problem, StudyError } from "../base/errors.ts";
import { readTextFile } from "../checkpoint/node.ts";
import type { GenerationSettings } from "../tasks/task.ts";
import { type Field, readDocument, type Value } from "../yaml/document.ts";
import { type DocumentKind, Faults } from "../yaml/faults.ts";
import { addWrongType, readFields, readText } from "../yaml/fields.ts";

/** Keys of both. */
export const QUESTION_KEYS = ["recipe", "tasks", "n", "seed", "system", "generation"] as const;
const GENERATION_KEYS = ["max_tokens", "temperature", "top_p"] as const;

export interface StudyQuestions {
  /** Files or folders. undefined: the small world's. */
  tasks?: string[];
  n?: number;
  seed?: number;
  system?: string;
  generation: Partial<GenerationSettings>;
}

const STUDY: DocumentKind = {
  noun: "study",
  maxBytes: 1e6,
  error: (problems) => new StudyError(problems),
};

/** Whether a YAML file says what varies in a recipe, rather than being one. */
export async function isStudyFile(path: string): Promise<boolean> {
  const text = await readTextFile(path, STUDY.maxBytes).catch(() => "");
  return /^(recipe|lambda)\s*:/m.test(text) && !/^parents\s*:/m.test(text);
}

/** Reads a study's file: `read` takes what is its own. Throws StudyError with everything that is wrong. */
export async function readStudy<T>(
  path: string,
  keys: readonly string[],
  read: (fields: Map<string, Field>, faults: Faults) => T,
): Promise<T & { recipe: string; questions: StudyQuestions }> {
  let text: string;
  try {
    text = await readTextFile(path, STUDY.maxBytes);
  } catch (error) {
    const { code, message } = error as Error & { code: string };
    throw new StudyError([{ code, message } satisfies Problem]);
  }
  const faults = new Faults(path, STUDY);
  const root = readDocument(text, faults);
  const fields = root && readFields(root, "the study", [...QUESTION_KEYS, ...keys], faults);
  if (!root || !fields) {
    faults.throwIfAny();
    throw new Error("internal: a study that is none, without a fault");
  }
  const within = (name: string) => (isAbsolute(name) ? name : join(dirname(path), name));
  const recipe = fields.get("recipe");
  if (!recipe)
    faults.add(root.at, "missing-key", 'Cannot read the study: "recipe" is missing, wanted a recipe\'s file');
  const recipePath = recipe && readText(recipe.value, '"recipe"', "a recipe's file", faults);
  const questions = readQuestions(fields, within, faults);
  const own = read(fields, faults);
  faults.throwIfAny();
  return { ...own, recipe: within(recipePath!), questions };
}

function readQuestions(
  fields: Map<string, Field>,
  within: (name: string) => string,
  faults: Faults,
): StudyQuestions {
  const questions: StudyQuestions = { generation: {} };
  const tasks = fields.get("tasks");
  if (tasks) {
    const names = listOf(tasks.value).flatMap(
      (value) => readText(value, '"tasks"', "files of tasks", faults) ?? [],
    );
    questions.tasks = names.map(within);
  }
  const n = readOptional(fields, "n", faults, {
    isInteger: true,
    least: 1,
    wanted: "a whole number above 0",
  });
  if (n !== undefined) questions.n = n;
  const seed = readOptional(fields, "seed", faults, {
    isInteger: true,
    least: 0,
    wanted: "a whole number from 0 on",
  });
  if (seed !== undefined) questions.seed = seed;
  const system = fields.get("system");
  const said = system && readText(system.value, '"system"', "a system message", faults);
  if (said !== undefined) questions.system = said;
  const generation = fields.get("generation");
  const some = generation && readFields(generation.value, '"generation"', GENERATION_KEYS, faults);
  if (some) {
    const maxTokens = readOptional(some, "max_tokens", faults, {
      ...{ isInteger: true, least: 1, wanted: "a whole number above 0" },
    });
    const temperature = readOptional(some, "temperature", faults, { least: 0, wanted: "a number from 0 on" });
    const topP = readOptional(some, "top_p", faults, {
      least: 0,
      most: 1,
      wanted: "a number above 0 and up to 1",
    });
    questions.generation = {
      ...(maxTokens === undefined ? {} : { maxTokens }),
      ...(temperature === undefined ? {} : { temperature }),
      ...(topP === undefined ? {} : { topP }),
    };
  }
  return questions;
}

export interface NumberWish {
  wanted: string;
  isInteger?: boolean;
  least?: number;
  most?: number;
}

export function readOptional(
  fields: Map<string, Field>,
  key: string,
  faults: Faults,
  wish: NumberWish,
): number | undefined {
  const field = fields.get(key);
  return field && readNumberValue(field.value, `"${key}"`, faults, wish);
}

export function readNumberValue(
  value: Value,
  subject: string,
  faults: Faults,
  { wanted, isInteger = false, least = -Infinity, most = Infinity }: NumberWish,
): number | undefined {
  const number = value.kind === "scalar" ? value.value : undefined;
  const fits = typeof number === "number" && Number.isFinite(number) && number >= least && number <= most;
  if (fits && (!isInteger || Number.isSafeInteger(number))) return number;
  addWrongType(faults, subject, value, wanted);
  return undefined;
}

/** A value as a list: itself where it is none. */
export function listOf(value: Value): Value[] {
  return value.kind === "list" ? value.items : [value];
}
