/** Numbers in prose: which one an answer gives, and when two are equal. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { findAnswerNumber, parseNumber } from "../../src/tasks/numbers.ts";
import { isWithin, parseDecimal } from "../../src/tasks/rational.ts";

const FOUND: [answer: string, number: string | undefined][] = [
  ["42", "42"],
  ["The answer is 42.", "42"],
  ["17 + 25 = 42", "42"],
  ["It is 1,234.50.", "1234.50"],
  ["In all $1,000,000!", "1000000"],
  ["$42", "42"],
  ["-$5", "-5"],
  ["$-5", "-5"],
  ["€3.50", "3.50"],
  ["−7", "-7"],
  ["x = −7.5", "-7.5"],
  ["–5", "-5"],
  ["10-5", "5"],
  ["10 - 5", "5"],
  ["(3)-5", "5"],
  ["a range of 3-5", "5"],
  ["50%", "50"],
  ["50\\%", "50"],
  ["\\$42", "42"],
  ["3/4", "3/4"],
  ["-3/4", "-3/4"],
  ["12/25/2024", "2024"],
  ["3/0", "0"],
  ["1e3", "1e3"],
  ["2.5E-4", "2.5e-4"],
  ["1e3x", "1"],
  ["5 × 10^3", "5e3"],
  ["5 \\times 10^{-3} metres", "5e-3"],
  ["1, 2 and 3", "3"],
  ["1,2,3", "3"],
  ["1,23", "23"],
  ["1,00,000 rupees", "100000"],
  ["1\u2009234\u2009567", "1234567"],
  ["1{,}234", "1234"],
  ["1\\,234", "1234"],
  ["12,345,67", "67"],
  [".5", "0.5"],
  ["version 1.2.3", undefined],
  ["x2 and CO2", undefined],
  ["12 m^2", "12"],
  ["the 42nd", "42"],
  ["42kg", "42"],
  ["共42个", "42"],
  ["答案是４２。", "42"],
  ["等于－７．５", "-7.5"],
  ["１２，３４", "34"],
  ["10...", "10"],
  ["1...9", "9"],
  ["**42**", "42"],
  ["#### 1,234", "1234"],
  ["no number", undefined],
  ["", undefined],
  ["\\boxed{42} of 100", "42"],
  ["\\boxed{1} no, \\boxed{2}. See page 9", "2"],
  ["\\boxed{\\frac{3}{4}}", "3/4"],
  ["\\boxed{\\dfrac{-3}{4}} 7", "-3/4"],
  ["\\boxed{\\text{about } 1{,}234}", "1234"],
  ["\\boxed{x} 5", "5"],
  ["\\boxed{3} and \\boxed{yes} 5", "3"],
  ["\\boxed{7", "7"],
  ["$\\boxed{073}$", "073"],
  ["\\fbox{8} 9", "8"],
  ["12:30", "30"],
  ["\\frac12", "1/2"],
  ["\\boxed{3\\frac{1}{2}}", "7/2"],
  ["3x10^2", "3e2"],
  ["10^{-3}", "10^-3"],
  ["2^{10}", "2^10"],
  ["x^{2} = 9", "9"],
  ["x^2", undefined],
  ["x^{-2}", undefined],
  ["0^-1", undefined],
  ["42 \\text{ cm}^2", "42"],
  ["90^\\circ", "90"],
  ["t_2 = 8", "8"],
  ["between -5 and -3", "-3"],
  ["A: 10%", "10"],
  ["$x = -42$", "-42"],
];

for (const [answer, number] of FOUND) {
  test(`findAnswerNumber() finds ${number} in ${JSON.stringify(answer)}`, () => {
    assert.equal(findAnswerNumber(answer)?.text, number);
  });
}

test("parseNumber() takes a text that is one number, with its signs", () => {
  for (const text of ["42", " 42 ", "-1,234.5", "$42", "42%", "3/4", "1e3", "073", "４２"]) {
    assert.ok(parseNumber(text), text);
  }
  for (const text of [
    "",
    "x",
    "1 2",
    "1,2",
    "1,23",
    "1...5",
    "42 apples",
    "1.2.3",
    "12/25/2024",
    "--",
    "4x",
    "a4",
  ]) {
    assert.equal(parseNumber(text), undefined, text);
  }
});

test("numbers that are written differently are equal, others are not", () => {
  const equal = (a: string, b: string) => isWithin(parseNumber(a)!.value, parseNumber(b)!.value, 0);
  for (const [a, b] of [
    ["0.10", "0.1"],
    ["1,000", "1000"],
    ["1000.0", "1000"],
    ["1e3", "1000"],
    ["3/4", "0.75"],
    ["-0", "0"],
    ["007", "7"],
    ["12345678901234567890", "12345678901234567890.0"],
    ["50%", "50"],
    ["10^-3", "0.001"],
    ["2^10", "1024"],
    ["-2^2", "-4"],
    ["3\\frac{1}{2}", "3.5"],
  ] as const)
    assert.ok(equal(a, b), `${a} ${b}`);
  for (const [a, b] of [
    ["12345678901234567890", "12345678901234567891"],
    ["0.1", "0.10000000000000001"],
    ["1/3", "0.3333333333"],
    ["-5", "5"],
  ] as const)
    assert.ok(!equal(a, b), `${a} ${b}`);
});

test("isWithin() includes the tolerance itself, which floating point would not", () => {
  const of = (text: string) => parseDecimal(text)!;
  assert.ok(isWithin(of("0.3"), of("0.2"), 0.1));
  assert.ok(!isWithin(of("0.3"), of("0.19999999999999999999"), 0.1));
  assert.ok(isWithin(of("1e21"), of("1e21"), 1e-7));
});

test("parseDecimal() agrees with the language on whatever it takes, and limits digits", () => {
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
      const { numerator, denominator } = parseDecimal(String(value))!;
      const quotient =
        denominator === 1n ? Number(numerator) : Number(`${numerator}e-${String(denominator).length - 1}`);
      assert.ok(Object.is(Math.abs(quotient), Math.abs(value)) && quotient === value);
    }),
    { seed: 7, numRuns: 500 },
  );
  assert.equal(parseDecimal("1".repeat(401)), undefined);
  assert.equal(parseDecimal("1e999999999"), undefined);
});

test("findAnswerNumber() takes whatever text comes, in a short time", () => {
  const part = fc.constantFrom(
    "1",
    "23",
    ",",
    ".",
    "-",
    "−",
    "/",
    "e",
    "$",
    " ",
    "\\boxed{",
    "}",
    "^",
    "×10^",
    "x",
    "４",
    "\\frac{1}{2}",
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 30 }), (parts) => {
      findAnswerNumber(parts.join(""));
    }),
    { seed: 7, numRuns: 1000 },
  );
  for (const text of [
    "1".repeat(200_000),
    "1,".repeat(100_000),
    "\\boxed{".repeat(30_000),
    "1/".repeat(100_000),
    "1 × ".repeat(50_000),
  ])
    findAnswerNumber(text);
});
