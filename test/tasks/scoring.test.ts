/** scoreAnswer() for each kind of scoring, right and wrong. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { likeliestChoice, scoreAnswer } from "../../src/tasks/scoring.ts";
import type { Question, Score, Scoring } from "../../src/tasks/task.ts";

function score(scoring: Scoring, answers: string[], content: string, choices?: string[]): Score {
  const question: Question = { id: "1", turns: ["?"], answers, ...(choices ? { choices } : {}) };
  return scoreAnswer(scoring, question, content, false);
}

test("scoreAnswer() exact: trimmed, without a final stop, any of the wanted", () => {
  const exact: Scoring = { kind: "exact", ignoreCase: false };
  assert.deepEqual(score(exact, ["Paris"], " Paris.\n"), { correct: true, extracted: "Paris" });
  assert.equal(score(exact, ["北京"], "北京。").correct, true);
  assert.equal(score(exact, ["Rome", "Paris"], "Paris").correct, true);
  assert.equal(score(exact, ["Paris."], "Paris").correct, true);
  assert.equal(score(exact, ["Paris"], "paris").correct, false);
  assert.equal(score(exact, ["Paris"], "It is Paris").correct, false);
  assert.equal(score({ kind: "exact", ignoreCase: true }, ["PARIS"], "paris").correct, true);
});

test("scoreAnswer() numeric: exactly without a tolerance, and within it", () => {
  const numeric: Scoring = { kind: "numeric", tolerance: 0 };
  assert.deepEqual(score(numeric, ["42"], "17 + 25 = 42."), { correct: true, extracted: "42" });
  assert.equal(score(numeric, ["0.1"], "0.10").correct, true);
  assert.equal(score(numeric, ["1,000"], "1000").correct, true);
  assert.equal(score(numeric, ["73"], "\\boxed{073}").correct, true);
  assert.equal(score(numeric, ["41", "42"], "42").correct, true);
  assert.deepEqual(score(numeric, ["42"], "43"), { correct: false, extracted: "43" });
  assert.deepEqual(score(numeric, ["42"], "none"), { correct: false });
  assert.equal(score({ kind: "numeric", tolerance: 0.1 }, ["0.2"], "0.3").correct, true);
  assert.equal(score({ kind: "numeric", tolerance: 0.1 }, ["0.2"], "0.31").correct, false);
});

test("scoreAnswer() contains", () => {
  const contains: Scoring = { kind: "contains", ignoreCase: false };
  assert.deepEqual(score(contains, ["x", "Paris"], "It is Paris, of course"), {
    correct: true,
    extracted: "Paris",
  });
  assert.equal(score(contains, ["Paris"], "paris").correct, false);
  assert.equal(score({ kind: "contains", ignoreCase: true }, ["Paris"], "PARIS").correct, true);
});

test("scoreAnswer() regex: the last match's first group; any match where nothing is wanted", () => {
  const regex: Scoring = { kind: "regex", pattern: "= (\\d+)", flags: "" };
  assert.deepEqual(score(regex, ["3"], "1 + 1 = 2, 1 + 2 = 3"), { correct: true, extracted: "3" });
  assert.deepEqual(score(regex, ["2"], "1 + 1 = 2, 1 + 2 = 3"), { correct: false, extracted: "3" });
  assert.deepEqual(score(regex, ["2"], "none"), { correct: false });
  assert.equal(score({ kind: "regex", pattern: "yes|no", flags: "i" }, [], "YES").correct, true);
  assert.equal(score({ kind: "regex", pattern: "", flags: "" }, [], "x").correct, true);
});

test("scoreAnswer() choice: by letter, or the text of the likeliest", () => {
  const choices = ["Paris", "London"];
  const letter: Scoring = { kind: "choice", method: "letter" };
  assert.deepEqual(score(letter, ["London"], "B) London", choices), { correct: true, extracted: "B" });
  assert.deepEqual(score(letter, ["London"], "A", choices), { correct: false, extracted: "A" });
  assert.deepEqual(score(letter, ["London"], "Berlin", choices), { correct: false });
  const likely: Scoring = { kind: "choice", method: "likelihood", normalise: "none", delimiter: " " };
  assert.deepEqual(score(likely, ["London"], "London", choices), { correct: true, extracted: "London" });
});

test("scoreAnswer() refusal: an empty answer is neither", () => {
  const question: Question = { id: "1", turns: ["?"], answers: [] };
  const of = (wanted: "answer" | "decline", content: string, refused: boolean) =>
    scoreAnswer({ kind: "refusal", wanted }, question, content, refused).correct;
  assert.deepEqual(
    [of("answer", "x", false), of("answer", "x", true), of("answer", " ", false)],
    [true, false, false],
  );
  assert.deepEqual(
    [of("decline", "x", true), of("decline", "x", false), of("decline", "", false)],
    [true, false, false],
  );
});

test("scoreAnswer() none scores nothing", () => {
  assert.deepEqual(score({ kind: "none" }, [], "x"), { correct: null });
});

test("likeliestChoice() counts per character or byte where it shall, and takes the first of equals", () => {
  assert.equal(likeliestChoice("none", ["a", "bbbb"], [-3, -4]), 0);
  assert.equal(likeliestChoice("characters", ["a", "bbbb"], [-3, -4]), 1);
  assert.equal(likeliestChoice("characters", ["北京", "abcd"], [-2, -4]), 0);
  assert.equal(likeliestChoice("bytes", ["北京", "abcd"], [-6, -4.2]), 0);
  assert.equal(likeliestChoice("bytes", ["北京", "abcd"], [-6, -3.9]), 1);
  assert.equal(likeliestChoice("none", ["a", "b"], [-1, -1]), 0);
});
