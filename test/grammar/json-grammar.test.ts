/** JSON by the grammar against JSON.parse(). */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Automaton } from "../../src/grammar/automaton.ts";
import { jsonObject, jsonValue } from "../../src/grammar/json-grammar.ts";
import { Matcher } from "../../src/grammar/matcher.ts";
import { networkOf } from "../../src/grammar/network.ts";

const VALUE = new Automaton(networkOf(jsonValue()));
const encoder = new TextEncoder();

function matches(text: string | Uint8Array, automaton: Automaton = VALUE): boolean {
  const matcher = new Matcher(automaton);
  return matcher.advanceAll(typeof text === "string" ? encoder.encode(text) : text) && matcher.canEnd;
}

test("jsonValue() takes what JSON.stringify() makes, on one line or with two spaces", () => {
  fc.assert(
    fc.property(fc.jsonValue({ depthSize: "medium" }), (value) => {
      assert.ok(matches(JSON.stringify(value)));
      assert.ok(matches(JSON.stringify(value, null, 2).replaceAll(/\n( {20}) +/g, "\n$1")));
    }),
    { numRuns: 500, seed: 1 },
  );
});

test("jsonValue() takes every finite double", () => {
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
      assert.ok(matches(JSON.stringify(value)), JSON.stringify(value));
    }),
    { numRuns: 2000, seed: 2 },
  );
  for (const text of ["1.7976931348623157e+308", "5e-324", "-0", "0.0", "1E5", "12.5e-07", "9e+099"])
    assert.ok(matches(text), text);
});

test("jsonValue() takes nothing that JSON.parse() refuses or reads as infinite", () => {
  const alphabet = [...'{}[],:"\\ \n\t0123456789-+.eEtrufalsn/bd\u0001é🙂'];
  let accepted = 0;
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...alphabet), { maxLength: 8 }), (parts) => {
      const text = parts.join("");
      if (!matches(text)) return;
      accepted++;
      JSON.parse(text);
    }),
    { numRuns: 20_000, seed: 3 },
  );
  assert.ok(accepted > 100, `${accepted} texts were JSON`);
  for (const text of [
    "01",
    "1.",
    ".5",
    "+1",
    "1e",
    "--1",
    "1e999",
    "1.8e308",
    "10e308",
    "tru",
    "nul",
    '"',
    "'a'",
  ])
    assert.ok(!matches(text), text);
});

test("jsonValue() refuses control characters and halves of pairs in strings", () => {
  for (const text of [
    '"\u0000"',
    '"\n"',
    '"\\x"',
    '"\\u12"',
    '"\\ud83d"',
    '"\\ude00"',
    '"\\ud83dx"',
    '"\\ude00\\ud83d"',
  ])
    assert.ok(!matches(text), JSON.stringify(text));
  for (const text of [
    '"\\ud83d\\ude00"',
    '"\\uD83D\\uDE00"',
    '"\\u0000"',
    '"\\/\\b\\f\\n\\r\\t\\"\\\\"',
    '"\u007f\ufffe"',
  ])
    assert.ok(matches(text), JSON.stringify(text));
});

test("jsonValue() takes well-formed UTF-8 and nothing else", () => {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const isWellFormed = (bytes: Uint8Array): boolean => {
    try {
      decoder.decode(bytes);
      return true;
    } catch {
      return false;
    }
  };
  const edges = [
    0x20, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xec, 0xed, 0xee, 0xef,
  ];
  edges.push(0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff);
  let cases = 0;
  const tryAll = (bytes: number[], more: number): void => {
    const text = Uint8Array.from([0x22, ...bytes, 0x22]);
    assert.equal(matches(text), isWellFormed(text), bytes.join());
    cases++;
    if (more > 0) for (const byte of edges) tryAll([...bytes, byte], more - 1);
  };
  tryAll([], 3);
  for (const lead of [0xef, 0xf0, 0xf1, 0xf4]) for (const byte of edges) tryAll([lead, byte], 2);
  assert.ok(cases > 40_000);
});

test("jsonValue() bounds white space and has none outside", () => {
  for (const text of ["[ ]", "[\n\n\t 1]", '{ "a" : 1 , "b" :\n2 }', `[\n${" ".repeat(20)}]`, "[]", "{}"])
    assert.ok(matches(text), JSON.stringify(text));
  for (const text of [" 1", "1 ", "[  ]", "[\n\n\n]", `[\n${" ".repeat(21)}]`, "[\t]", "[] ", "[\r\n]"])
    assert.ok(!matches(text), JSON.stringify(text));
});

test("jsonObject() takes objects only, of any depth", () => {
  const automaton = new Automaton(networkOf(jsonObject()));
  assert.ok(matches('{"a":[{}]}', automaton));
  for (const text of ["[]", "1", '"a"', "null"]) assert.ok(!matches(text, automaton));
  const depth = 5000;
  const deep = `{"a":${"[".repeat(depth)}${"]".repeat(depth)}}`;
  assert.ok(matches(deep, automaton));
  assert.ok(!matches(deep.slice(0, -2), automaton));
});
