/** What a grammar must be, before it can run. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { GrammarError } from "../../src/base/errors.ts";
import {
  byteOf,
  choice,
  EMPTY,
  type Grammar,
  literal,
  optional,
  repeat,
  rule,
  scope,
  sequence,
  token,
} from "../../src/grammar/grammar.ts";
import { Matcher } from "../../src/grammar/matcher.ts";
import { networkOf } from "../../src/grammar/network.ts";

function codeOf(grammar: Grammar): string {
  try {
    networkOf(grammar);
  } catch (error) {
    assert.ok(error instanceof GrammarError);
    return error.problems[0]!.code;
  }
  return "none";
}

test("networkOf() refuses what has no finite output", () => {
  assert.equal(codeOf(choice()), "no-finite-output");
  assert.equal(codeOf(byteOf()), "no-finite-output");
  assert.equal(codeOf(scope({ a: sequence("x", rule("a")) }, rule("a"))), "no-finite-output");
  assert.equal(codeOf(repeat(choice(), 1)), "no-finite-output");
  assert.equal(codeOf(repeat(choice(), 0)), "none");
  assert.equal(codeOf(EMPTY), "none");
});

test("networkOf() refuses rules that begin with themselves, also behind what may be empty", () => {
  assert.equal(codeOf(scope({ a: choice("x", sequence(rule("a"), "x")) }, rule("a"))), "left-recursion");
  assert.equal(
    codeOf(scope({ a: choice("x", sequence(optional("y"), rule("a"))) }, rule("a"))),
    "left-recursion",
  );
  const mutual = scope({ a: choice("x", rule("b")), b: sequence(rule("a"), "y") }, rule("a"));
  assert.equal(codeOf(mutual), "left-recursion");
});

test("networkOf() refuses rules without a name and grammars without bound", () => {
  assert.equal(codeOf(rule("a")), "unknown-rule");
  assert.equal(codeOf(sequence(scope({ a: literal("x") }, rule("a")), rule("a"))), "unknown-rule");
  assert.equal(codeOf(repeat("x", 0, 2_000_000)), "grammar-too-large");
  assert.equal(codeOf(repeat(optional("x"), 0, 50_000)), "grammar-too-large");
});

test("networkOf() makes a rule of what is repeated often", () => {
  const word = choice("monday", "tuesday", "wednesday");
  const { nodes } = networkOf(repeat(repeat(word, 1, 1000), 1, 1000));
  assert.ok(nodes.length < 3000, `${nodes.length} nodes`);
});

test("scope() hides names of outer scopes, and rules see their own scope", () => {
  const inner = scope({ a: literal("i") }, rule("a"));
  const grammar = scope({ a: literal("o"), b: rule("a") }, sequence(rule("a"), inner, rule("b")));
  assert.ok(new Matcher(grammar).advanceAll(Buffer.from("oio")));
  assert.ok(!new Matcher(grammar).advanceAll(Buffer.from("oo")));
});

test("Matcher is dead as soon as no output goes on", () => {
  // After "ac" only rules without an end could follow.
  const grammar = scope({ loop: sequence("c", rule("loop")) }, choice("ab", sequence("a", rule("loop"))));
  const matcher = new Matcher(grammar);
  assert.ok(matcher.advance(0x61));
  assert.ok(!matcher.advance(0x63));
  assert.ok(matcher.isDead && !matcher.canEnd);
});

test("literal(), token(), repeat(), byteOf() refuse what cannot be", () => {
  assert.throws(() => literal("\ud800"), RangeError);
  assert.throws(() => token(-1), RangeError);
  assert.throws(() => repeat("x", 2, 1), RangeError);
  assert.throws(() => byteOf([3, 256]), RangeError);
});

test("Matcher goes through ambiguous recursion without growing exponentially", () => {
  // Each level can be opened in two ways that differ only after it is closed.
  const grammar = scope(
    { v: choice("x", sequence("(", rule("v"), ")"), sequence("(", rule("v"), "))")) },
    rule("v"),
  );
  const matcher = new Matcher(grammar);
  assert.ok(matcher.advanceAll(Buffer.from(`${"(".repeat(300)}x${")".repeat(450)}`)));
  assert.ok(matcher.canEnd);
  assert.ok(!matcher.clone().advanceAll(Buffer.from(")".repeat(151))));
  assert.ok(matcher.advanceAll(Buffer.from(")".repeat(150))) && matcher.canEnd);
});
