/**
 * Why a tensor gets what it gets: every rule's answer, the weights that result, and the formula in words.
 *
 * Plain data first, so that a page or a script can show it its own way; `formatExplanation` is the text for a
 * terminal. It speaks for the recipe alone: whether parents differ enough or hold equal bytes, only their
 * data can say, and the formula names those cases.
 */
import type { Place } from "../arch/place.ts";
import type { Position } from "../yaml/position.ts";
import type { Measure, Recipe, Rule, Selector } from "./recipe.ts";
import { formatSelector, selects, whyNot } from "./selector.ts";
import { weightProblem, weightsAt } from "./weights.ts";

export interface Explanation {
  name: string;
  place: Place;
  file?: string;
  /** Index of the rule that takes it; absent: no rule does, the base's bytes stand. */
  rule?: number;
  /** For every rule, in the order of the recipe. */
  verdicts: Verdict[];
  /** λ by parent in the order of the recipe; absent when they depend on layers that were not given. */
  weights?: { parent: string; weight: number }[];
  threshold?: number;
  measure?: Measure;
  /** One sentence without a final stop. */
  formula: string;
}

export interface Verdict {
  /** From 0. */
  rule: number;
  at: Position;
  verdict: "takes" | "overruled" | "does-not-select";
  /** The rule that takes the tensor instead, when overruled. */
  by?: number;
  selectors: SelectorVerdict[];
}

export interface SelectorVerdict {
  /** The selector in words. */
  selector: string;
  at: Position;
  selects: boolean;
  /** The conditions that do not hold; empty when it selects. */
  reasons: string[];
}

export interface ExplainContext {
  /** The layers that a rule selects in the checkpoint; without it gradients stay unevaluated. */
  selectedLayers?: (rule: Rule) => readonly number[];
}

export function explainTensor(
  recipe: Recipe,
  place: Place,
  name: string,
  context: ExplainContext = {},
): Explanation {
  const answer = (selector: Selector): SelectorVerdict => ({
    selector: formatSelector(selector),
    at: selector.at,
    selects: selects(selector, place, name),
    reasons: whyNot(selector, place, name),
  });
  const answers = recipe.rules.map((rule) => ({ rule, selectors: rule.selectors.map(answer) }));
  const taker = answers.findLast(({ selectors }) => selectors.some((each) => each.selects))?.rule;
  const verdicts = answers.map(({ rule, selectors }): Verdict => {
    const head = { rule: rule.index, at: rule.at };
    if (rule === taker) return { ...head, verdict: "takes", selectors };
    if (!selectors.some((each) => each.selects)) return { ...head, verdict: "does-not-select", selectors };
    return { ...head, verdict: "overruled", by: taker!.index, selectors };
  });
  const explanation: Explanation = {
    name,
    place,
    ...(recipe.file === undefined ? {} : { file: recipe.file }),
    verdicts,
    formula: `the bytes of ${recipe.base}, the base, untouched: no rule selects it`,
  };
  return taker ? { ...explanation, ...outcome(recipe, taker, place.layer, context) } : explanation;
}

/** What the rule makes of a tensor in this layer. */
function outcome(
  recipe: Recipe,
  rule: Rule,
  layer: number | undefined,
  context: ExplainContext,
): Partial<Explanation> & { formula: string } {
  const test = rule.threshold === undefined ? {} : { threshold: rule.threshold, measure: rule.measure };
  const isGradient = Object.values(rule.weights).some(Array.isArray);
  if (isGradient && layer !== undefined && !context.selectedLayers) {
    const formula = "a weighted sum whose weights follow a gradient over the layers that the rule selects";
    return { rule: rule.index, ...test, formula };
  }
  const layers = isGradient ? (context.selectedLayers?.(rule) ?? []) : [];
  const problem = weightProblem(recipe, rule, layer, layers);
  if (problem) return { rule: rule.index, ...test, formula: `none: ${problem.message}` };
  const weights = weightsAt(recipe, rule, layer, layers).map((weight, index) => ({
    parent: recipe.parents[index]!.name,
    weight,
  }));
  return { rule: rule.index, weights, ...test, formula: formulaOf(recipe, rule, weights) };
}

function formulaOf(recipe: Recipe, rule: Rule, weights: { parent: string; weight: number }[]): string {
  const { base } = recipe;
  const used = weights.filter(({ weight }) => weight !== 0);
  const others = used.filter(({ parent }) => parent !== base).map(({ parent }) => parent);
  const total = used.reduce((sum, { weight }) => sum + weight, 0);
  const sumsToOne = Math.abs(total - 1) < 1e-6;
  const isCopy = used.length === 1 && used[0]!.weight === 1;
  const parts = [
    isCopy
      ? `the bytes of ${used[0]!.parent}, copied`
      : used.map(({ parent, weight }, index) => formatTerm(weight, parent, index === 0)).join(" "),
  ];
  if (rule.threshold !== undefined && others.length > 0) {
    const parents = others.length > 1 ? `one of ${others.join(", ")}` : others[0];
    const test = `where ${parents} differs from ${base} by more than ${rule.threshold} (${rule.measure})`;
    parts[0] += ` ${test}, elsewhere the bytes of ${base}`;
  }
  if (used.length > 1 && sumsToOne) parts.push("where these parents are byte-identical, their bytes");
  if (!sumsToOne) parts.push(`the weights sum to ${formatWeight(total)}`);
  return parts.join("; ");
}

/** "0.5 · v3", then "+ 0.5 · r1" or "− 0.5 · r1". */
function formatTerm(weight: number, parent: string, isFirst: boolean): string {
  const sign = weight < 0 ? "−" : isFirst ? "" : "+";
  return `${sign}${isFirst ? "" : " "}${formatWeight(Math.abs(weight))} · ${parent}`;
}

/** Up to six digits: a share, not its last bit. */
function formatWeight(weight: number): string {
  return String(Number(weight.toPrecision(6)));
}

/** For a terminal: one fact a line. Rules count from 1, as a reader counts. */
export function formatExplanation(explanation: Explanation): string {
  const { name, place, file, verdicts, weights, formula } = explanation;
  const lines = [name, `  ${formatPlace(place)}`];
  for (const { rule, at, verdict, by, selectors } of verdicts) {
    const where = `rule ${rule + 1} (${file === undefined ? "" : `${file}:`}${at.line}:${at.column})`;
    if (verdict === "does-not-select") {
      lines.push(`  ${where} does not select it`);
      for (const { selector, reasons } of selectors) lines.push(`    ${selector}: ${reasons.join("; ")}`);
      continue;
    }
    const words = selectors.filter((each) => each.selects).map(({ selector }) => selector);
    const what =
      verdict === "takes" ? "takes it" : `selects it, but rule ${by! + 1} comes later and takes it`;
    lines.push(`  ${where} ${what}: ${words.join("; ")}`);
  }
  if (weights) {
    lines.push(
      `  weights: ${weights.map(({ parent, weight }) => `${parent} ${formatWeight(weight)}`).join(", ")}`,
    );
  }
  lines.push(`  result: ${formula}`);
  return lines.join("\n");
}

function formatPlace({ role, layer, expert, matrix, mtp }: Place): string {
  const parts = [
    role,
    layer === undefined ? "outside the layers" : `layer ${layer}${mtp ? " (MTP)" : ""}`,
    ...(expert === undefined ? [] : [`expert ${expert}`]),
    matrix,
  ];
  return parts.join(", ");
}
