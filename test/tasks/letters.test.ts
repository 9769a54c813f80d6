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

const MORE: [answer: string, letter: string | undefined][] = [
  ["The correct answer is D. None of the above", "D"],
  ['Answer is "C"', "C"],
  ["答案选B", "B"],
  ["选项B", "B"],
  ["正确选项是（C）", "C"],
  ["Answer: A.", "A"],
  ["The answer is A, because", "A"],
  ["So the answer is: **A. Paris**", "A"],
  ["A is incorrect. B is correct", "B"],
  ["A is not correct; B is the correct answer.", "B"],
  ["Both A and B seem plausible; however, C is right.", "C"],
  ["I'll go with B.", "B"],
  ["My answer: C", "C"],
  ["Final answer: C", "C"],
  ["**Final Answer**\nC", "C"],
  ["**Final Answer:**\n\nC", "C"],
  ["<answer>C</answer>", "C"],
  ["It must be B.", "B"],
  ["Therefore, B.", "B"],
  ["答案是 B 选项", "B"],
  ["所以正确答案是：B．", "B"],
  ["The answer is London.", "B"],
  ["The answer is (A) Paris, not (B).", "A"],
  ["A. Paris", "A"],
  ["A: Paris", "A"],
  ["A - Paris", "A"],
  ["Option B", "B"],
  ["Choice (C)", "C"],
  ["B, because London is bigger", "B"],
  ["B because", "B"],
  ["A because", "A"],
  ["The answer could be A or B, but I choose C.", "C"],
  ["The right choice is B", "B"],
  ["correct: B", "B"],
  ["Ans: B", "B"],
  ["The answer is choice D", "D"],
  ["I think the answer is C.", "C"],
  ["The answer is **(C)**", "C"],
  ["The answer is $\\boxed{C}$", "C"],
  ["\\boxed{\\textbf{(C)}}", "C"],
  ["\\boxed{C. Rome}", "C"],
  ["\\boxed{Rome}", undefined],
  ["the answer is a", "A"],
  ["Answer: b", "B"],
  ["answer is not A but B", undefined],
  ["It is C", "C"],
  ["C!", "C"],
  ["我选择C，因为罗马", "C"],
  ["应该选择 D", "D"],
  ["本题选C", "C"],
  ["A选项错误；B选项正确。", "B"],
  ["答案不是A，而是B", undefined],
  ["正确的是C", "C"],
  ["答案为：\n\nC", "C"],
  ["Answer:\nC", "C"],
];

for (const [answer, letter] of MORE) {
  test(`findChoice() finds ${letter} of four choices in ${JSON.stringify(answer)}`, () => {
    const index = findChoice(answer, ["Paris", "London", "Rome", "None of the above"]);
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
