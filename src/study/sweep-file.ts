/** The file of a sweep: which λ, thresholds and roles vary around a recipe, and which questions are asked. */
import type { SelectableRole } from "../recipe/recipe.ts";
import { SELECTABLE_ROLES } from "../recipe/vocabulary.ts";
import type { Field, Value } from "../yaml/document.ts";
import type { Faults } from "../yaml/faults.ts";
import { addWrongType } from "../yaml/fields.ts";
import { didYouMean, oneOf, quote } from "../yaml/wording.ts";
import { parseValues } from "./axis.ts";
import { listOf, readNumberValue, readStudy, type StudyQuestions } from "./study-file.ts";
import type { LambdaAxis } from "./sweep.ts";

export interface SweepFile {
  /** Path of the recipe. */
  recipe: string;
  lambda: LambdaAxis[];
  thresholds: number[];
  roles: SelectableRole[][];
  questions: StudyQuestions;
}

/** Throws StudyError with everything that is wrong with the file. */
export async function readSweepFile(path: string): Promise<SweepFile> {
  return readStudy(path, ["lambda", "threshold", "roles"], (fields, faults) => ({
    lambda: readLambda(fields.get("lambda"), faults),
    thresholds: readThresholds(fields.get("threshold"), faults),
    roles: readRoles(fields.get("roles"), faults),
  }));
}

function readLambda(field: Field | undefined, faults: Faults): LambdaAxis[] {
  if (!field) return [];
  const { value } = field;
  if (value.kind !== "mapping") {
    addWrongType(faults, '"lambda"', value, "parents with values, as { r1: 0:1:0.1 }");
    return [];
  }
  return value.entries.map(({ key, value: values }) => ({
    parent: key,
    values: readValues(values, `the values of ${quote(key)}`, faults),
  }));
}

/** A list of numbers, a number, or from:to:step. */
function readValues(value: Value, subject: string, faults: Faults): number[] {
  const wanted = "numbers or from:to:step";
  if (value.kind === "scalar" && typeof value.value === "string") {
    try {
      return parseValues(value.value);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      faults.add(value.at, "bad-values", error.message);
      return [];
    }
  }
  return listOf(value).flatMap((item) => readNumberValue(item, subject, faults, { wanted }) ?? []);
}

function readThresholds(field: Field | undefined, faults: Faults): number[] {
  if (!field) return [];
  const values = readValues(field.value, '"threshold"', faults);
  const negative = values.find((value) => value < 0);
  if (negative !== undefined) {
    const message = `Cannot use the threshold ${negative}: a difference is never negative, wanted a number from 0`;
    faults.add(field.value.at, "bad-threshold", message);
  }
  return values;
}

/** [routed-experts, [attention, router]]: a curve for each entry. */
function readRoles(field: Field | undefined, faults: Faults): SelectableRole[][] {
  if (!field) return [];
  return listOf(field.value).map((entry) => listOf(entry).flatMap((value) => readRole(value, faults) ?? []));
}

function readRole(value: Value, faults: Faults): SelectableRole | undefined {
  const text = value.kind === "scalar" ? value.text : undefined;
  const role = SELECTABLE_ROLES.find((each) => each === text);
  if (role !== undefined) return role;
  if (text === undefined || text === "") addWrongType(faults, '"roles"', value, oneOf(SELECTABLE_ROLES));
  else {
    const message = `Cannot use the role ${quote(text)}: unknown, wanted ${oneOf(SELECTABLE_ROLES)}`;
    faults.add(value.at, "unknown-role", message, didYouMean(text, SELECTABLE_ROLES));
  }
  return undefined;
}
