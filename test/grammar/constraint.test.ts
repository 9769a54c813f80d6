/** Masks against their definition: a token is allowed where a matcher takes all its bytes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { largeVocabulary } from "../../bench/vocabulary.ts";
import { character } from "../../src/grammar/characters.ts";
import { CompiledGrammar, Constraint } from "../../src/grammar/constraint.ts";
import {
  byteOf,
  choice,
  type Grammar,
  literal,
  oneOf,
  optional,
  repeat,
  rule,
  scope,
  sequence,
  token,
} from "../../src/grammar/grammar.ts";
import { CHARACTER, JSON_RULES, jsonObject, jsonValue } from "../../src/grammar/json-grammar.ts";
import { Matcher } from "../../src/grammar/matcher.ts";
import { TokenTrie } from "../../src/grammar/token-trie.ts";
import { type SeededRandom, seededRandom } from "../../src/statistics/random.ts";
import { miniVocabulary, smallVocabulary } from "./vocabularies.ts";

function idsOf(mask: Uint32Array): number[] {
  const ids: number[] = [];
  for (let id = 0; id < mask.length * 32; id++) if ((mask[id >>> 5]! >>> (id & 31)) & 1) ids.push(id);
  return ids;
}

const TEXTS = [
  "{",
  '{"',
  '"}',
  '":',
  '": ',
  '", "',
  '","',
  "}}",
  "]]",
  "[[",
  "[]",
  "{}",
  "  ",
  "\n  ",
  "ab",
  'a"',
  "12",
  "-1",
  "1.5",
  "e+",
  "true",
  "tru",
  "null}",
  "\\",
  '\\"',
  "\\u",
  "\\ud83d",
  "\\ude00",
  "é",
  "🙂",
  "日本",
  '日"',
];
TEXTS.push("x", "xy", "xyx", "yx", "xxxxxxxx", "(", "()", "((", "))", "))x", ")(");
const HALVES = [
  Uint8Array.of(0xf0, 0x9f),
  Uint8Array.of(0x99, 0x82),
  Uint8Array.of(0x61, 0xc3),
  Uint8Array.of(0xa9, 0x22),
];

/** Balanced brackets, in an ambiguous spelling: a sequence is also a sequence of sequences. */
const BRACKETS = scope(
  {
    group: choice(sequence("(", optional(rule("groups")), ")"), "x"),
    groups: choice(
      rule("group"),
      sequence(rule("group"), rule("groups")),
      sequence(rule("group"), rule("group"), rule("groups")),
    ),
  },
  rule("groups"),
);
const GRAMMARS: Record<string, Grammar> = {
  text: literal("xyx"),
  "choice of texts": choice("x", "xy", "xyx", "日本", ""),
  "bounded repeat": repeat(choice("x", "yx"), 2, 5),
  "repeat of what may be empty": repeat(choice("", "x", sequence(optional("y"), "x")), 1, 4),
  "unbounded repeat": sequence(repeat(oneOf("xy12"), 1), optional("ab")),
  "bytes that are no text": repeat(byteOf([0x80, 0xff]), 0, 3),
  brackets: BRACKETS,
  "right recursion": scope({ a: choice("x", sequence("x", rule("a"))) }, rule("a")),
  "middle recursion": scope({ a: choice("x", sequence("(", rule("a"), ")")) }, rule("a")),
  "json value": jsonValue(),
  "json object": jsonObject(),
};

/** Goes a random way through the masks and looks at each. Returns how many were looked at. */
function walk(
  compiled: CompiledGrammar,
  tokens: readonly (Uint8Array | undefined)[],
  random: SeededRandom,
): number {
  const [end] = compiled.endTokens;
  const constraint = new Constraint(compiled);
  const matcher = new Matcher(compiled.automaton);
  for (let step = 0; step < 12; step++) {
    const allowed = idsOf(constraint.allowed());
    const expected = tokens.flatMap((bytes, id) =>
      id === end ? (matcher.canEnd ? [id] : []) : bytes && matcher.clone().advanceAll(bytes) ? [id] : [],
    );
    assert.deepEqual(allowed, expected);
    assert.ok(allowed.length > 0, "nothing was allowed");
    assert.equal(constraint.isComplete, allowed.length === 1 && allowed[0] === end);
    const chosen = allowed[random.nextInt(allowed.length)]!;
    constraint.accept(chosen);
    if (chosen === end) return step + 1;
    assert.ok(matcher.advanceAll(tokens[chosen]!));
  }
  return 12;
}

for (const [name, grammar] of Object.entries(GRAMMARS)) {
  test(`Constraint allowed() is what a matcher takes: ${name}`, () => {
    const { tokens, trie, end } = smallVocabulary([...TEXTS, ...HALVES]);
    const compiled = new CompiledGrammar(grammar, trie, { endTokens: [end] });
    const random = seededRandom(5);
    let steps = 0;
    for (let i = 0; i < 60; i++) steps += walk(compiled, tokens, random);
    assert.ok(steps >= 120, `${steps} masks`);
  });
}

test("Constraint allowed() is what a matcher takes, when hardly anything is kept", () => {
  const { tokens, trie, end } = smallVocabulary([...TEXTS, ...HALVES]);
  const compiled = new CompiledGrammar(jsonValue(), trie, {
    endTokens: [end],
    maskBytes: 200,
    mostStates: 20,
  });
  const random = seededRandom(6);
  for (let i = 0; i < 40; i++) walk(compiled, tokens, random);
  assert.ok(compiled.numMasks <= 200 / (4 * Math.ceil(trie.size / 32)));
});

test("Constraint allowed() takes exactly the vocabulary of the small models", async () => {
  const { tokenizer, trie, end } = await miniVocabulary();
  const tokens = Array.from({ length: trie.size }, (_, id) =>
    trie.bytesOf(id).length ? trie.bytesOf(id) : undefined,
  );
  assert.ok(tokens.filter(Boolean).length > 500);
  assert.ok(tokenizer.isSpecial(end));
  const random = seededRandom(7);
  const compiled = new CompiledGrammar(jsonObject(), trie, { endTokens: [end] });
  for (let i = 0; i < 20; i++) walk(compiled, tokens, random);
});

const BOUNDED: Record<string, Grammar> = {
  "a string": jsonValue(),
  "a bounded string": scope(JSON_RULES, sequence('"', repeat(CHARACTER, 3, 12), '"')),
  "a long bounded string": scope(JSON_RULES, sequence('"', repeat(CHARACTER, 0, 200), '"')),
  "words of small letters": repeat(sequence(byteOf([0x61, 0x7a]), optional(" ")), 5, 14),
  "a name": sequence(
    oneOf("abcde"),
    repeat(choice(byteOf([0x61, 0x7a]), byteOf([0x4e, 0x80]), byteOf([0xe0, 0xef])), 0),
  ),
  "no character that is cut": repeat(
    character([
      [0x20, 0x7e],
      [0x4e00, 0x9fff],
    ]),
    0,
    8,
  ),
  "spaces to a limit": repeat(" ", 0, 100),
};
for (const [name, grammar] of Object.entries(BOUNDED)) {
  test(`Constraint allowed() is what a matcher takes, with words that it lets in together: ${name}`, () => {
    const { tokens, end } = largeVocabulary(6000);
    const trie = new TokenTrie({ size: tokens.length, bytesOf: (id) => tokens[id] });
    const compiled = new CompiledGrammar(grammar, trie, { endTokens: [end] });
    const random = seededRandom(8);
    for (let i = 0; i < 6; i++) walk(compiled, tokens, random);
  });
}

test("Constraint allowed() is exact with 129,280 tokens", () => {
  const { tokens, end } = largeVocabulary();
  const trie = new TokenTrie({ size: tokens.length, bytesOf: (id) => tokens[id] });
  const compiled = new CompiledGrammar(jsonValue(), trie, { endTokens: [end] });
  const constraint = new Constraint(compiled);
  const matcher = new Matcher(compiled.automaton);
  for (const text of ["", '{"', "k\\", 'n": [', '"日', "é"]) {
    for (const byte of new TextEncoder().encode(text)) {
      constraint.accept(byte);
      matcher.advance(byte);
    }
    const mask = constraint.allowed();
    for (const [id, bytes] of tokens.entries()) {
      const isAllowed = ((mask[id >>> 5]! >>> (id & 31)) & 1) === 1;
      assert.equal(
        isAllowed,
        bytes !== undefined && matcher.clone().advanceAll(bytes),
        `after ${text}: ${bytes}`,
      );
    }
  }
});

test("Constraint tells special tokens from text", () => {
  const { trie, end } = smallVocabulary(["<call>"], 4);
  const [call, close] = [end + 1, end + 2];
  const grammar = sequence(token(call), "f", jsonObject(), optional(token(close)));
  const constraint = new Constraint(new CompiledGrammar(grammar, trie, { endTokens: [end] }));
  assert.deepEqual(idsOf(constraint.allowed()), [call]);
  assert.throws(() => constraint.accept(0x3c), RangeError);
  constraint.accept(call);
  for (const byte of new TextEncoder().encode("f{}")) constraint.accept(byte);
  assert.deepEqual(idsOf(constraint.allowed()), [end, close]);
  assert.ok(constraint.canEnd && !constraint.isComplete);
  const other = constraint.clone();
  constraint.accept(close);
  assert.deepEqual(idsOf(constraint.allowed()), [end]);
  assert.ok(constraint.isComplete);
  assert.deepEqual(idsOf(other.allowed()), [end, close]);
  other.accept(end);
  assert.deepEqual(idsOf(other.allowed()), []);
  assert.throws(() => other.accept(end), RangeError);
});

test("Constraint leaves both ways open where a named token also has bytes that match", () => {
  const { trie, end } = smallVocabulary(["ab"]);
  const ab = end - 1;
  const grammar = choice(sequence(token(ab), "1"), sequence("ab", "2"));
  const constraint = new Constraint(new CompiledGrammar(grammar, trie, { endTokens: [end] }));
  constraint.accept(ab);
  assert.deepEqual(idsOf(constraint.allowed()), [0x31, 0x32]);
});

test("Constraint accept() changes nothing when it throws", () => {
  const { trie, end } = smallVocabulary(["xz"]);
  const constraint = new Constraint(new CompiledGrammar(literal("xy"), trie, { endTokens: [end] }));
  for (const id of [end - 1, end, end + 1, 0x79, -1, 1.5, 9999])
    assert.throws(() => constraint.accept(id), /Cannot accept token/);
  constraint.accept(0x78);
  constraint.accept(0x79);
  assert.deepEqual(idsOf(constraint.allowed()), [end]);
});

test("CompiledGrammar refuses tokens outside of the vocabulary", () => {
  const { trie, end } = smallVocabulary([]);
  assert.throws(() => new CompiledGrammar(token(trie.size), trie, { endTokens: [end] }), RangeError);
  assert.throws(() => new CompiledGrammar(literal("a"), trie, { endTokens: [trie.size] }), RangeError);
});

test("CompiledGrammar maskOf() gives one array for equal states", () => {
  const { trie, end } = smallVocabulary(TEXTS);
  const compiled = new CompiledGrammar(jsonValue(), trie, { endTokens: [end] });
  const [a, b] = [new Constraint(compiled), new Constraint(compiled)];
  for (const byte of new TextEncoder().encode('["a","b"')) a.accept(byte);
  for (const byte of new TextEncoder().encode('["cde"')) b.accept(byte);
  assert.equal(a.allowed(), b.allowed());
});
