/** Letters in prose: which choice an answer names. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { findChoice, letterOf } from "../../src/tasks/letters.ts";

const CHOICES = ["Paris", "London", "Rome", "Madrid"];
const NAMED: [answer: string, letter: string | undefined][] = [
  ["B", "B"],
  ["b", "B"],
  ["(b)", "B"],
  [" B. ", "B"],
  ["**B**", "B"],
  ["**B.**", "B"],
  ["`B`", "B"],
  ["$B$", "B"],
  ["(B)", "B"],
  ["[B]", "B"],
  ["The answer is B.", "B"],
  ["The answer is (B).", "B"],
  ["The answer is (b).", "B"],
  ["The answer is **B**.", "B"],
  ["The correct answer is: B", "B"],
  ["Answer: B", "B"],
  ["**Answer:** B", "B"],
  ["Answer: **B) London**", "B"],
  ["ANSWER: C", "C"],
  ["The correct option is C because Rome is older.", "C"],
  ["The answer is option D.", "D"],
  ["So I would choose D.", "D"],
  ["I'd go with C", "C"],
  ["B is correct.", "B"],
  ["(B) is the right answer.", "B"],
  ["B) London", "B"],
  ["B. London is the largest.", "B"],
  ["(B) London", "B"],
  ["**B) London**\n\nIt lies on the Thames.", "B"],
  ["A) Paris lies in France.\nB) London does not.\nThe answer is B.", "B"],
  ["A) is wrong.\nB) is wrong.\n\nC", "C"],
  ["Option A is wrong, B is wrong. The answer is D.", "D"],
  ["The answer is A. No, wait: the answer is C.", "C"],
  ["The answer is not B", undefined],
  ["A cat sat there.", undefined],
  ["The answer is A cat.", undefined],
  ["The answer is A because Paris is in France.", "A"],
  ["I think so.", undefined],
  ["I", undefined],
  ["Because of that.", undefined],
  ["London", "B"],
  ["london.", "B"],
  ['"London"', "B"],
  ["E", undefined],
  ["The answer is E.", undefined],
  ["\\boxed{C}", "C"],
  ["The answer is $\\boxed{\\text{C}}$.", "C"],
  ["\\boxed{(c)} rather than B", "C"],
  ["Vitamin B is a vitamin.", undefined],
  ["", undefined],
  ["A\nB\nC\nD", undefined],
  // Chinese.
  ["答案是B。", "B"],
  ["答案是Ｂ。", "B"],
  ["答案：（Ｂ）", "B"],
  ["正确答案为 C。", "C"],
  ["**答案：D**", "D"],
  ["因此选C。", "C"],
  ["故选：D", "D"],
  ["B是正确的。", "B"],
  ["选项B正确", "B"],
  ["A错误，B错误，所以答案是D。", "D"],
  ["Ｂ", "B"],
  ["（B）伦敦", "B"],
  ["B、伦敦", "B"],
  ["这个问题很难。", undefined],
];

for (const [answer, letter] of NAMED) {
  test(`findChoice() finds ${letter} in ${JSON.stringify(answer)}`, () => {
    const index = findChoice(answer, CHOICES);
    assert.equal(index === undefined ? undefined : letterOf(index), letter);
  });
}

test("findChoice() names no choice by a text that two of them have", () => {
  assert.equal(findChoice("yes", ["yes", "Yes", "no"]), undefined);
});

test("findChoice() takes long answers in a short time", () => {
  for (const text of [
    "answer is ".repeat(30_000),
    "A) x\n".repeat(50_000),
    "( ".repeat(100_000),
    "I choose ".repeat(30_000),
  ])
    findChoice(text, CHOICES);
});
