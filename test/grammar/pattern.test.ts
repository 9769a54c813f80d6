/** Patterns against the regular expressions of the language. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Automaton } from "../../src/grammar/automaton.ts";
import { literal, sequence } from "../../src/grammar/grammar.ts";
import { Matcher } from "../../src/grammar/matcher.ts";
import { networkOf } from "../../src/grammar/network.ts";
import { lengthsOf, ofLengths, patternGrammar, withLengths } from "../../src/grammar/pattern.ts";
import { parsePattern } from "../../src/grammar/pattern-parser.ts";
import { productGrammar } from "../../src/grammar/pattern-product.ts";
import { FORMATS, formatPattern } from "../../src/grammar/string-formats.ts";
import { FORMAT_CHECKS } from "./schemas.ts";

const encoder = new TextEncoder();

function matches(automaton: Automaton, text: string): boolean {
  const matcher = new Matcher(automaton);
  return matcher.advanceAll(encoder.encode(JSON.stringify(text).slice(1, -1))) && matcher.canEnd;
}

/** Half a token that matches nothing, so that patterns without a match can be run too. */
const runnable = (grammar: ReturnType<typeof patternGrammar>): Automaton =>
  new Automaton(networkOf(sequence({ kind: "choice", items: [grammar, literal("\u0001never")] })));

const characters = fc.constantFrom(
  "a",
  "b",
  "c",
  "-",
  "0",
  "9",
  "_",
  " ",
  "\n",
  '"',
  "\\",
  "é",
  "日",
  "🙂",
  "\u2028",
);
const texts = fc.array(characters, { maxLength: 6 }).map((parts) => parts.join(""));
const atoms = fc.constantFrom(
  "a",
  "b",
  "c",
  "0",
  ".",
  "\\d",
  "\\w",
  "\\s",
  "\\D",
  "\\W",
  "\\S",
  "[ab]",
  "[^a]",
  "[a-c0-9]",
  "[^\\w\\s]",
  "\\n",
  '"',
  "\\\\",
  "é",
  "日",
  "[é-🙂]",
  "\\u{1F642}",
  "\\ud83d\\ude42",
  "\\x61",
  "[\\d-]",
  "\\.",
  "[]",
  "[^]",
);
const quantifiers = fc.constantFrom("", "", "", "*", "+", "?", "{2}", "{1,3}", "{2,}", "*?", "+?");
const { whole: patterns } = fc.letrec<{ whole: string; choice: string; items: string; item: string }>(
  (tie) => ({
    item: fc
      .tuple(
        fc.oneof(
          { maxDepth: 2, withCrossShrink: true },
          atoms,
          tie("choice").map((inner) => `(${inner})`),
          tie("choice").map((inner) => `(?:${inner})`),
        ),
        quantifiers,
      )
      .map(([one, times]) => one + times),
    items: fc.array(tie("item"), { maxLength: 3 }).map((all) => all.join("")),
    choice: fc.array(tie("items"), { minLength: 1, maxLength: 2 }).map((all) => all.join("|")),
    whole: fc
      .array(
        fc.tuple(fc.constantFrom("", "^"), tie("items"), fc.constantFrom("", "$")).map((all) => all.join("")),
        { minLength: 1, maxLength: 2 },
      )
      .map((all) => all.join("|")),
  }),
);

test("parsePattern() means what RegExp means", () => {
  let matched = 0;
  let refused = 0;
  fc.assert(
    fc.property(patterns, fc.array(texts, { minLength: 10, maxLength: 20 }), (source, all) => {
      const expression = new RegExp(source, "u");
      const automaton = runnable(patternGrammar(parsePattern(source)));
      for (const text of all) {
        const isMatch = expression.test(text);
        assert.equal(matches(automaton, text), isMatch, `${source} on ${JSON.stringify(text)}`);
        if (isMatch) matched++;
        else refused++;
      }
    }),
    { numRuns: 1000, seed: 4 },
  );
  assert.ok(matched > 3000 && refused > 3000, `${matched} matched, ${refused} did not`);
});

test("lengthsOf() bounds what matches, withLengths() keeps what is long enough", () => {
  let limited = 0;
  fc.assert(
    fc.property(
      patterns,
      fc.nat(3),
      fc.nat(3),
      fc.array(texts, { minLength: 10, maxLength: 20 }),
      (source, min, more, all) => {
        const expression = new RegExp(source, "u");
        const pattern = parsePattern(source);
        const own = lengthsOf(pattern);
        const bounds = { min, max: min + more };
        const within = withLengths(pattern, bounds);
        const automaton = within && runnable(patternGrammar(within));
        if (automaton) limited++;
        for (const text of all) {
          const { length } = Array.from(text);
          const isMatch = expression.test(text);
          if (isMatch) assert.ok(own.min <= length && length <= own.max);
          if (automaton)
            assert.equal(matches(automaton, text), isMatch && length >= min && length <= bounds.max);
        }
      },
    ),
    { numRuns: 500, seed: 5 },
  );
  assert.ok(limited > 50, `${limited} patterns`);
});

test("productGrammar() takes what all patterns take", () => {
  let matched = 0;
  let tooLarge = 0;
  fc.assert(
    fc.property(
      patterns,
      patterns,
      fc.nat(2),
      fc.array(texts, { minLength: 10, maxLength: 20 }),
      (a, b, min, all) => {
        const expressions = [new RegExp(a, "u"), new RegExp(b, "u")];
        const product = productGrammar([parsePattern(a), parsePattern(b), ofLengths({ min, max: 5 })]);
        if (!product) {
          tooLarge++;
          return;
        }
        const automaton = runnable(product);
        for (const text of all) {
          const { length } = Array.from(text);
          const isMatch = expressions.every((one) => one.test(text)) && length >= min && length <= 5;
          assert.equal(matches(automaton, text), isMatch, `${a} and ${b} on ${JSON.stringify(text)}`);
          if (isMatch) matched++;
        }
      },
    ),
    { numRuns: 80, seed: 6 },
  );
  assert.ok(matched > 100 && tooLarge < 8, `${matched} matched, ${tooLarge} were too large`);
});

test("formatPattern() takes forms as they are defined, and no neighbours of them", () => {
  const good: Record<string, string[]> = {
    date: ["2024-02-29", "2000-02-29", "1999-12-31", "0000-02-29", "0004-02-29"],
    time: ["00:00:00Z", "23:59:59.123+23:59"],
    "date-time": ["2024-02-29T12:00:00-00:30"],
    duration: ["P1Y", "P3W", "PT1H30M", "P1Y2M3DT4H5M6S", "P1DT1S"],
    uuid: ["123e4567-e89b-12d3-a456-426614174000"],
    email: ["a.b+c@example.com"],
    hostname: ["localhost", "a-b.example"],
    ipv4: ["0.0.0.0", "255.255.255.255", "192.168.10.1"],
    ipv6: ["::", "::1", "1::", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "fe80::abcd:12"],
    uri: ["https://example.com", "ftp://a-b.example:80/x/y.z?a=b&c#d"],
  };
  assert.deepEqual(Object.keys(good), FORMATS);
  for (const format of FORMATS) {
    const automaton = new Automaton(networkOf(patternGrammar(formatPattern(format)!)));
    for (const text of good[format]!) {
      assert.ok(matches(automaton, text), text);
      // One character left out, doubled or changed: what the grammar still takes must be of the form.
      for (let i = 0; i <= text.length; i++) {
        for (const put of ["", "0", "9", "3", "-", ":", ".", "T", "f"]) {
          for (const cut of [0, 1]) {
            const other = text.slice(0, i) + put + text.slice(i + cut);
            if (matches(automaton, other)) assert.ok(FORMAT_CHECKS[format]!(other), `${format}: ${other}`);
          }
        }
      }
    }
  }
});
