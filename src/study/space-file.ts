/**
 * The file of a search: a recipe to start from, and variables, each a rule whose λ (and δ) is searched. Rules follow those
 * of the recipe in the order of the file, so a later variable has the last word.
 */

import { readSelectors } from "../recipe/read-selector.ts";
import type { Selector } from "../recipe/recipe.ts";
import { PARENT_NAME } from "../recipe/vocabulary.ts";
import type { Field, Value } from "../yaml/document.ts";
import type { Faults } from "../yaml/faults.ts";
import { addWrongType, readFields, readText, readWord, requireField } from "../yaml/fields.ts";
import { quote } from "../yaml/wording.ts";
import { listOf, readNumberValue, readOptional, readStudy, type StudyQuestions } from "./study-file.ts";

export interface SearchVariable {
  name: string;
  selectors: Omit<Selector, "at">[];
  /** Whose λ is searched; the base gets the rest to 1. */
  parent: string;
  lambda: { low: number; high: number };
  /** δ, searched too. */
  threshold?: { low: number; high: number };
  /** One variable for each layer that the selectors reach. */
  perLayer: boolean;
}

export interface SpaceFile {
  recipe: string;
  variables: SearchVariable[];
  budget?: number;
  questions: StudyQuestions;
}

const KEYS = ["name", "tensors", "parent", "lambda", "threshold", "per"] as const;

/** Throws StudyError with everything that is wrong with the file. */
export async function readSpaceFile(path: string): Promise<SpaceFile> {
  return readStudy(path, ["variables", "budget"], (fields, faults) => {
    const wish = { isInteger: true, least: 1, most: 100_000, wanted: "a whole number above 0" };
    const budget = readOptional(fields, "budget", faults, wish);
    return {
      variables: readVariables(fields.get("variables"), faults),
      ...(budget === undefined ? {} : { budget }),
    };
  });
}

function readVariables(field: Field | undefined, faults: Faults): SearchVariable[] {
  if (!field) {
    const message = 'Cannot read the study: "variables" is missing, wanted a list of what is searched';
    faults.add({ line: 1, column: 1 }, "missing-key", message);
    return [];
  }
  const variables: SearchVariable[] = [];
  if (field.value.kind !== "list" || field.value.items.length === 0)
    addWrongType(faults, '"variables"', field.value, "a list with at least one variable");
  for (const value of listOf(field.value)) {
    const variable = readVariable(value, variables.length, faults);
    if (!variable) continue;
    if (variables.some(({ name }) => name === variable.name)) {
      const message = `Cannot use the variable ${quote(variable.name)}: there are two of this name, wanted one`;
      faults.add(value.at, "duplicate-variable", message);
    }
    variables.push(variable);
  }
  return variables;
}

function readVariable(value: Value, index: number, faults: Faults): SearchVariable | undefined {
  const fields = readFields(value, "the variable", KEYS, faults);
  if (!fields) return undefined;
  const tensors = requireField(fields, "tensors", value.at, "the variable", "a role or a selector", faults);
  const parent = requireField(fields, "parent", value.at, "the variable", "whose λ is searched", faults);
  if (!tensors || !parent) return undefined;
  const selectors = readSelectors(tensors, faults).map(({ at: _, ...selector }) => selector);
  const parentName = parent.value.kind === "scalar" ? parent.value.text : "";
  if (!PARENT_NAME.test(parentName)) addWrongType(faults, '"parent"', parent.value, "the name of a parent");
  const name = fields.get("name");
  const given = name && readText(name.value, '"name"', "a name", faults);
  const lambda = readInterval(fields.get("lambda"), faults) ?? { low: 0, high: 1 };
  const threshold = readInterval(fields.get("threshold"), faults);
  if (threshold && threshold.low < 0) {
    const message =
      "Cannot search a threshold below 0: a difference is never negative, wanted an interval from 0";
    faults.add(fields.get("threshold")!.value.at, "bad-threshold", message);
  }
  const per = fields.get("per");
  const perLayer = per !== undefined && readWord(per, ["layer"], "unknown-word", faults) === "layer";
  return {
    name: given ?? selectors[0]?.role ?? `variable ${index + 1}`,
    ...{ selectors, parent: parentName, lambda, perLayer },
    ...(threshold ? { threshold } : {}),
  };
}

/** [low, high] */
function readInterval(field: Field | undefined, faults: Faults): { low: number; high: number } | undefined {
  if (!field) return undefined;
  const wanted = "two numbers, the lower first: [0, 1]";
  const items = listOf(field.value);
  const numbers = items.flatMap((item) => readNumberValue(item, quote(field.key), faults, { wanted }) ?? []);
  const [low, high] = numbers;
  if (items.length === 2 && numbers.length === 2 && low! < high!) return { low: low!, high: high! };
  if (numbers.length === items.length) {
    const message = `Cannot search ${quote(field.key)}: the interval is [${numbers.join(", ")}], wanted ${wanted}`;
    faults.add(field.value.at, "bad-interval", message);
  }
  return undefined;
}
