/**
 * Scoring as lm-evaluation-harness 0.4 does it: filters over the answer, then exact_match.
 *
 * The answer is taken as it is, with the space or the line break it begins with; only a filter trims it.
 */
import type { HarnessFilter, Score, Scoring } from "./task.ts";

type HarnessScoring = Extract<Scoring, { kind: "harness" }>;

export function scoreAsHarness(scoring: HarnessScoring, wanted: readonly string[], content: string): Score {
  const extracted = scoring.filters.reduce(applyFilter, content);
  const answer = comparable(scoring, extracted);
  return { correct: wanted.some((text) => comparable(scoring, text) === answer), extracted };
}

function applyFilter(text: string, filter: HarnessFilter): string {
  switch (filter.kind) {
    case "regex": {
      const matches = [...text.matchAll(new RegExp(filter.pattern, `g${filter.flags}`))];
      const match = matches.at(filter.select === "first" ? 0 : -1);
      if (!match) return filter.fallback;
      const groups = match.slice(1);
      // One group that took no part is an empty text; of several the first that is not empty counts.
      if (groups.length === 0) return match[0].trim();
      if (groups.length === 1) return (groups[0] ?? "").trim();
      return groups.find(Boolean)?.trim() ?? filter.fallback;
    }
    case "trim":
      return text.trim();
    case "lowercase":
      return text.toLowerCase();
    case "uppercase":
      return text.toUpperCase();
    default:
      return filter satisfies never;
  }
}

const PUNCTUATION = /[!-/:-@[-`{-~]/g; // ASCII's, as Python's string.punctuation

function comparable(scoring: HarnessScoring, text: string): string {
  let bare = text;
  for (const { pattern, flags } of scoring.ignore) bare = bare.replace(new RegExp(pattern, `g${flags}`), "");
  if (scoring.ignoreCase) bare = bare.toLowerCase();
  if (scoring.ignorePunctuation) bare = bare.replace(PUNCTUATION, "");
  return scoring.ignoreNumbers ? bare.replace(/[0-9]/g, "") : bare;
}
