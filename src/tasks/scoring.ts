/**
 * Whether an answer is right. Pure: the same answer always has the same score.
 *
 * Only the answer is scored, never the thinking before it. docs/TASKS.md tells the rules; how a number or a
 * letter is found in prose is in numbers.ts and letters.ts.
 */
import { scoreAsHarness } from "./harness-score.ts";
import { findChoice, letterOf } from "./letters.ts";
import { findAnswerNumber, parseNumber } from "./numbers.ts";
import { isWithin } from "./rational.ts";
import type { Question, Score, Scoring } from "./task.ts";

/**
 * `content`: the last answer without its thinking; where choices are scored by likelihood, the text of the
 * likeliest (likeliestChoice()). `refused`: whether it declines, by whoever judges that.
 */
export function scoreAnswer(scoring: Scoring, question: Question, content: string, refused: boolean): Score {
  switch (scoring.kind) {
    case "exact":
      return scoreExact(question.answers, content, scoring.ignoreCase);
    case "numeric":
      return scoreNumeric(question.answers, content, scoring.tolerance);
    case "contains": {
      const fold = (text: string) => (scoring.ignoreCase ? text.toLowerCase() : text);
      const found = question.answers.find((wanted) => fold(content).includes(fold(wanted)));
      return found === undefined ? { correct: false } : { correct: true, extracted: found };
    }
    case "regex":
      return scoreRegex(question.answers, content, scoring);
    case "choice":
      return scoring.method === "letter" ? scoreLetter(question, content) : scoreChosen(question, content);
    case "refusal":
      if (scoring.wanted === "decline") return { correct: refused };
      return { correct: !refused && content.trim() !== "" }; // an empty answer answers nothing
    case "harness":
      return scoreAsHarness(scoring, question.answers, content);
    case "none":
      return { correct: null };
    default:
      return scoring satisfies never;
  }
}

/** Index of the choice that is likeliest, the first of equals; `choices` give lengths where they count. */
export function likeliestChoice(
  normalise: "none" | "characters" | "bytes",
  choices: readonly string[],
  logLikelihoods: readonly number[],
): number {
  const lengthOf = (choice: string): number => {
    if (normalise === "none") return 1;
    if (normalise === "characters") return [...choice].length;
    return new TextEncoder().encode(choice).length;
  };
  let best = 0;
  let most = -Infinity;
  for (const [index, choice] of choices.entries()) {
    const value = (logLikelihoods[index] ?? -Infinity) / Math.max(1, lengthOf(choice));
    if (value > most) {
      best = index;
      most = value;
    }
  }
  return best;
}

function scoreExact(wanted: readonly string[], content: string, ignoreCase: boolean): Score {
  const comparable = (text: string) => {
    const bare = text
      .trim()
      .replace(/[.。]$/, "")
      .trimEnd();
    return ignoreCase ? bare.toLowerCase() : bare;
  };
  const answer = comparable(content);
  return { correct: wanted.some((text) => comparable(text) === answer), extracted: answer };
}

function scoreNumeric(wanted: readonly string[], content: string, tolerance: number): Score {
  const found = findAnswerNumber(content);
  if (!found) return { correct: false };
  const correct = wanted.some((text) => {
    const value = parseNumber(text)?.value;
    return value !== undefined && isWithin(found.value, value, tolerance);
  });
  return { correct, extracted: found.text };
}

function scoreRegex(
  wanted: readonly string[],
  content: string,
  { pattern, flags }: { pattern: string; flags: string },
): Score {
  const all = new RegExp(pattern, flags.includes("g") ? flags : `${flags}g`);
  let last: RegExpExecArray | undefined;
  for (const match of content.matchAll(all)) last = match;
  if (!last) return { correct: false };
  const extracted = (last[1] ?? last[0]).trim();
  return { correct: wanted.length === 0 || wanted.some((text) => text.trim() === extracted), extracted };
}

function scoreLetter(question: Question, content: string): Score {
  const choices = question.choices ?? [];
  const index = findChoice(content, choices);
  if (index === undefined) return { correct: false };
  return { correct: question.answers.includes(choices[index]!), extracted: letterOf(index) };
}

function scoreChosen({ answers }: Question, content: string): Score {
  return { correct: answers.includes(content), extracted: content };
}
