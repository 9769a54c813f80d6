/**
 * An entry of `rules` -> a Rule: what it selects, by what weights, under which threshold.
 *
 * Weights that make no tensor at all (their sum is 0) are a fault; weights outside [0, 1] and other sums
 * are not: they lead outside the convex hull of the parents, which assembly.md section 1 allows.
 */
import type { Field, Value } from "../yaml/document.ts";
import type { Faults } from "../yaml/faults.ts";
import { addWrongType, describe, readFields, readWord, requireField } from "../yaml/fields.ts";
import type { Position } from "../yaml/position.ts";
import { didYouMean, oneOf, quote } from "../yaml/wording.ts";
import { readSelectors } from "./read-selector.ts";
import type { Method, Rule } from "./recipe.ts";
import { KEYS, LATER_METHODS, MEASURES, METHODS } from "./vocabulary.ts";
import { isZeroEverywhere } from "./weights.ts";

/** What the rules may refer to; undefined where the file does not say it rightly. */
export interface Known {
  parents: readonly string[] | undefined;
  base: string | undefined;
}

/** The rule, as far as it could be read. */
export function readRule(value: Value, index: number, known: Known, faults: Faults): Rule | undefined {
  const fields = readFields(value, "the rule", KEYS.rule, faults);
  if (!fields) return undefined;
  const tensors = requireField(fields, "tensors", value.at, "the rule", "a role or a selector", faults);
  const weights = requireField(fields, "weights", value.at, "the rule", "parents with numbers", faults);
  const rule: Rule = {
    index,
    selectors: tensors ? readSelectors(tensors, faults) : [],
    weights: {},
    measure: "rms",
    method: "linear",
    at: value.at,
    weightsAt: {},
  };
  const areRead = weights !== undefined && readWeights(weights, rule, known, faults);
  const threshold = given(fields.get("threshold"));
  if (threshold) {
    const delta = readThreshold(threshold, faults);
    if (delta !== undefined) rule.threshold = delta;
  }
  const measure = fields.get("measure");
  if (measure) rule.measure = readWord(measure, MEASURES, "unknown-measure", faults) ?? "rms";
  const method = fields.get("method");
  if (method) rule.method = readMethod(method, faults) ?? "linear";
  if (areRead && known.base !== undefined) addEmptyMeaning(rule, weights, threshold, known.base, faults);
  return rule;
}

/** A threshold written as null says "no test", as scripts that make recipes do; an empty one is a slip. */
function given(field: Field | undefined): Field | undefined {
  const isNull = field?.value.kind === "scalar" && field.value.value === null && field.value.text !== "";
  return isNull ? undefined : field;
}

/** True when every weight was read. */
function readWeights({ value }: Field, rule: Rule, known: Known, faults: Faults): boolean {
  if (value.kind !== "mapping") {
    addWrongType(faults, '"weights"', value, "parents with numbers, like { r1: 1 }");
    return false;
  }
  if (value.entries.length === 0) {
    faults.add(value.at, "empty-weights", 'Cannot read "weights": no parent is named, wanted at least one');
    return false;
  }
  let areRead = true;
  for (const { key, at, value: weight } of readFields(value, '"weights"', undefined, faults)!.values()) {
    if (known.parents && !known.parents.includes(key)) {
      addUnknownParent(key, at, known.parents, faults);
      areRead = false;
      continue;
    }
    const number = readWeight(weight, key, faults);
    if (number === undefined) areRead = false;
    else {
      rule.weights[key] = number;
      rule.weightsAt[key] = at;
    }
  }
  return areRead;
}

/** A number, or a list of them: a gradient. */
function readWeight(value: Value, parent: string, faults: Faults): number | number[] | undefined {
  if (value.kind !== "list") return readNumber(value, `the weight of ${quote(parent)}`, "a number", faults);
  if (value.items.length === 0) {
    const message = `Cannot read the weight of ${quote(parent)}: the list is empty, wanted numbers`;
    faults.add(value.at, "empty-list", message);
    return undefined;
  }
  const subject = `the gradient of ${quote(parent)}`;
  const numbers = value.items.map((item) => readNumber(item, subject, "numbers", faults));
  return numbers.every((number) => number !== undefined) ? numbers : undefined;
}

function readThreshold({ value }: Field, faults: Faults): number | undefined {
  const wanted = "a number from 0";
  const threshold = readNumber(value, '"threshold"', wanted, faults);
  if (threshold === undefined || threshold >= 0) return threshold;
  const message = `Cannot use the threshold ${threshold}: a difference is never negative, wanted ${wanted}`;
  faults.add(value.at, "bad-threshold", message, "Leave it out to merge every selected tensor");
  return undefined;
}

function readNumber(value: Value, subject: string, wanted: string, faults: Faults): number | undefined {
  if (value.kind !== "scalar" || typeof value.value !== "number") {
    const isFraction = value.kind === "scalar" && /^[\d.]+\s*[/%]\s*[\d.]*$/.test(value.text);
    addWrongType(
      faults,
      subject,
      value,
      wanted,
      isFraction ? "Write it as a decimal number, like 0.5" : undefined,
    );
    return undefined;
  }
  // Weights are rounded to float32 before they meet a tensor, so what overflows there is infinite too.
  if (!Number.isFinite(Math.fround(value.value))) {
    const message = `Cannot read ${subject}: ${describe(value)}, wanted a finite one`;
    faults.add(value.at, "not-finite", message);
    return undefined;
  }
  return value.value;
}

function readMethod(field: Field, faults: Faults): Method | undefined {
  const { value } = field;
  if (value.kind !== "scalar" || value.value === null) {
    addWrongType(faults, '"method"', value, oneOf(METHODS));
    return undefined;
  }
  const method = METHODS.find((each) => each === value.text);
  if (method !== undefined) return method;
  if (LATER_METHODS.includes(value.text)) {
    const message = `Cannot use the method ${quote(value.text)}: known, but not available yet, wanted ${oneOf(METHODS)}`;
    faults.add(value.at, "unavailable-method", message);
    return undefined;
  }
  const message = `Cannot use the method ${quote(value.text)}: unknown, wanted ${oneOf(METHODS)}`;
  const near = didYouMean(value.text, [...METHODS, ...LATER_METHODS]);
  const note = `${near === undefined ? "" : `${near} `}Known, but not available yet: ${LATER_METHODS.join(", ")}`;
  faults.add(value.at, "unknown-method", message, note);
  return undefined;
}

/** A rule that would write zeros, or a test that tests nothing. */
function addEmptyMeaning(
  rule: Rule,
  weights: Field,
  threshold: Field | undefined,
  base: string,
  faults: Faults,
): void {
  if (isZeroEverywhere(rule, base)) {
    const message = 'Cannot use "weights": every one is 0, wanted a parent that counts';
    const note = "To keep the base's bytes leave the rule out";
    faults.add(weights.at, "zero-weights", message, note);
  }
  const others = Object.entries(rule.weights).filter(([parent]) => parent !== base);
  const areZero = others.every(([, weight]) => [weight].flat().every((number) => number === 0));
  if (threshold && areZero) {
    const message = `Cannot use "threshold": no parent but the base ${quote(base)} has a weight, wanted another parent to compare`;
    faults.add(threshold.at, "pointless-threshold", message, "Leave the threshold out");
  }
}

export function addUnknownParent(
  name: string,
  at: Position,
  parents: readonly string[],
  faults: Faults,
): void {
  const message = `Cannot use the parent ${quote(name)}: unknown, wanted ${oneOf(parents)}`;
  faults.add(at, "unknown-parent", message, didYouMean(name, parents));
}
