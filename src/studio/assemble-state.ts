/**
 * The recipe of the assemble page: its text is what counts, the form is another look at it. Whoever types in one sees the other
 * follow; each change is held against what came after it, so that a slow answer never overwrites later words.
 */
import { signal } from "@preact/signals";
import type { Planning, Problem, RecipeForm, RecipeWords } from "../server/api.ts";
import { engine } from "./state.ts";

const READ_MS = 200;
const WRITE_MS = 120;
const PLAN_MS = 250;

export const recipeText = signal("");
/** As the text says, where it can be read. */
export const recipeForm = signal<RecipeForm | undefined>(undefined);
/** Faults of the text. */
export const problems = signal<readonly Problem[]>([]);
export const planning = signal<Planning | undefined>(undefined);
export const isPlanning = signal(false);
export const fault = signal<unknown>(undefined);
export const words = signal<RecipeWords | undefined>(undefined);

let version = 0;
let timer: ReturnType<typeof setTimeout> | undefined;

/** Somebody types YAML, or a recipe is opened. */
export function setText(text: string, { atOnce = false } = {}): void {
  recipeText.value = text;
  next(atOnce ? 0 : READ_MS, async (isLatest) => {
    const reading = await engine().readRecipe(text);
    if (!isLatest()) return;
    if ("form" in reading) recipeForm.value = reading.form;
    problems.value = "problems" in reading ? reading.problems : [];
    if ("form" in reading) plan();
    else planning.value = undefined;
  });
}

/** Somebody changes the form. It is written as YAML, and that is read again for its faults. */
export function setForm(form: RecipeForm): void {
  recipeForm.value = form;
  next(WRITE_MS, async (isLatest) => {
    const text = await engine().writeRecipe(form);
    const reading = await engine().readRecipe(text);
    if (!isLatest()) return;
    recipeText.value = text;
    problems.value = "problems" in reading ? reading.problems : [];
    if ("form" in reading) plan();
    else planning.value = undefined;
  });
}

export async function loadWords(): Promise<void> {
  words.value ??= await engine().recipeWords();
}

function plan(): void {
  next(PLAN_MS, async (isLatest) => {
    isPlanning.value = true;
    const answer = await engine().plan(recipeText.value);
    if (!isLatest()) return;
    planning.value = answer;
    isPlanning.value = false;
    if ("problems" in answer) problems.value = answer.problems;
  });
}

/** Does something when nothing else was asked for in the meantime. */
function next(ms: number, action: (isLatest: () => boolean) => Promise<void>): void {
  const mine = ++version;
  clearTimeout(timer);
  timer = setTimeout(async () => {
    try {
      fault.value = undefined;
      await action(() => mine === version);
    } catch (error) {
      if (mine !== version) return;
      fault.value = error;
      isPlanning.value = false;
    }
  }, ms);
}
