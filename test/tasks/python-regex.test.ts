/** Python's regular expressions and lists in JavaScript. Expected values are Python's (3.11, re and ast). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseList } from "../../src/tasks/adapters/python-literal.ts";
import { PythonRegexFault, translateRegex } from "../../src/tasks/adapters/python-regex.ts";

/** Whole matches, as [m.group() for m in re.finditer(pattern, text)]. */
const MATCHES: [pattern: string, text: string, matches: string[]][] = [
  ["#### (\\-?[0-9\\.\\,]+)", "x #### -1,234.5 y", ["#### -1,234.5"]],
  ["\\d+", "12 ٣٤ x", ["12", "٣٤"]],
  ["\\D+", "1a٣", ["a"]],
  ["\\w+", "naïve_1 北京!", ["naïve_1", "北京"]],
  ["[\\w-]+", "a-b é", ["a-b", "é"]],
  ["\\W", "é a", [" "]],
  ["\\bé\\b", "é éa é", ["é", "é"]],
  ["\\Bb", "ab b", ["b"]],
  ["a.c", "a\rc a\nc abc", ["a\rc", "abc"]],
  ["(?s)a.c", "a\nc", ["a\nc"]],
  ["x$", "x\n", ["x"]],
  ["x\\Z", "x\n", []],
  ["^x", "x\nx", ["x"]],
  ["(?m)^x$", "x\nx\n", ["x", "x"]],
  ["\\Ax", "xx", ["x"]],
  ["(?i)ANSWER", "Answer answer", ["Answer", "answer"]],
  ["(?P<n>a)b", "ab", ["ab"]],
  ["(a)\\1", "aa a", ["aa"]],
  ["a{2}", "aaa", ["aa"]],
  ["a{,2}b", "aab", ["aab"]],
  ["{a}", "{a}", ["{a}"]],
  ["a{b", "a{b", ["a{b"]],
  ["a]", "a]", ["a]"]],
  ["[]a]+", "]a", ["]a"]],
  ["[^]a]+", "b]", ["b"]],
  ["[[a]+", "[a", ["[a"]],
  ["\\boxed", "oxed boxed", ["oxed"]],
  ["\\\\boxed\\{(.*?)\\}", "\\boxed{4}", ["\\boxed{4}"]],
  ["\\#\\ \\'\\-\\/", "# '-/", ["# '-/"]],
  ["(?<!a)b(?=c)", "bc abc bd", ["b"]],
  ["\\x41\\u0042", "AB", ["AB"]],
  ["a/b", "a/b", ["a/b"]],
  ["a+?b*?", "aab", ["a", "a"]],
];

for (const [pattern, text, matches] of MATCHES) {
  test(`translateRegex() finds with ${pattern} what Python finds`, () => {
    const { pattern: translated, flags } = translateRegex(pattern);
    const found = [...text.matchAll(new RegExp(translated, `g${flags}`))].map(([match]) => match);
    assert.deepEqual(found, matches);
  });
}

test("translateRegex() refuses what has no equal, and what is no expression", () => {
  for (const pattern of [
    "(?>a)",
    "a*+",
    "a++",
    "(?(1)a|b)",
    "(?x)a",
    "(?i:a)",
    "(?P=a)",
    "(?#a)",
    "\\Q",
    "\\0",
    "[\\W]",
    "[\\A]",
    "(",
    "a)",
    "[a",
    "*",
    "a\\",
    "(a)\\2",
    "[b-a]",
  ]) {
    assert.throws(() => translateRegex(pattern), PythonRegexFault, pattern);
  }
});

test("parseList() reads lists of texts and numbers, and nothing else", () => {
  assert.deepEqual(parseList("['a', \"b's\", 'c\\n\\x41\\u0042\\\\\\'', 1, -2.5,]"), [
    "a",
    "b's",
    "c\nAB\\'",
    1,
    -2.5,
  ]);
  assert.deepEqual(parseList(" [ ] "), []);
  assert.deepEqual(parseList("['\\d']"), ["\\d"]);
  for (const text of [
    "",
    "[",
    "['a'",
    "['a' 'b']",
    "[a]",
    "[None]",
    "('a',)",
    "['a'] x",
    "['a\nb']",
    "[['a']]",
    "[,]",
    "[1 2]",
    "[1x]",
  ])
    assert.equal(parseList(text), undefined, text);
});
