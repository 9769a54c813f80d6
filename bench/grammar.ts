/**
 * What a constraint costs: the trie of a vocabulary once, compiling a grammar once, and at each token a mask, found the
 * first time or kept. Checked first: masks are what a matcher says of every token.
 *
 * A mask is found where no mask was kept, by a grammar whose states are known as they are after some tokens; the first
 * of all also finds the states. 129,280 tokens, made up (vocabulary.ts).
 */
import assert from "node:assert/strict";
import { CompiledGrammar, Constraint } from "../src/grammar/constraint.ts";
import type { Grammar } from "../src/grammar/grammar.ts";
import { jsonObject } from "../src/grammar/json-grammar.ts";
import { grammarOfSchema } from "../src/grammar/json-schema.ts";
import { Matcher } from "../src/grammar/matcher.ts";
import { TokenTrie } from "../src/grammar/token-trie.ts";
import { printTable } from "./table.ts";
import { quickest } from "./timing.ts";
import { largeVocabulary } from "./vocabulary.ts";

/** Compilations of which the quickest first mask counts. */
const FIRSTS = 8;
const encoder = new TextEncoder();
const person = {
  type: "object",
  properties: {
    name: { type: "string" },
    born: { type: "string", format: "date" },
    about: { type: "string", maxLength: 500 },
    tags: { type: "array", items: { enum: ["red", "green", "blue"] } },
    friends: { type: "array", items: { $ref: "#" } },
  },
  required: ["name"],
  additionalProperties: false,
};

interface Case {
  name: string;
  /** Made anew for each compilation: a network is kept by its grammar. */
  grammar: () => Grammar;
  /** What the output is so far, by what it is in the table. */
  after: Record<string, string>;
}

const CASES: readonly Case[] = [
  {
    name: "JSON object",
    grammar: () => structuredClone(jsonObject()),
    after: {
      "the beginning": "",
      "in a key": '{"ke',
      "before a value": '{"key": ',
      "in a string": '{"key": "some',
      "deep in one": '{"a":[[{"b":["c',
    },
  },
  {
    name: "schema",
    grammar: () => grammarOfSchema(structuredClone(person)),
    after: {
      "in a key": '{"na',
      "in a string": '{"name": "some',
      "in one of 500": '{"name": "", "about": "some',
      "in a date": '{"name": "", "born": "20',
    },
  },
];

export function benchGrammar(): string {
  const { tokens, end } = largeVocabulary();
  let trie = new TokenTrie({ size: tokens.length, bytesOf: (id) => tokens[id] });
  const seconds = quickest(2, () => {
    trie = new TokenTrie({ size: tokens.length, bytesOf: (id) => tokens[id] });
  });
  printTable(
    "grammar: the trie of a vocabulary",
    ["tokens", "nodes", "made in"],
    [[String(tokens.length), String(trie.numNodes), milliseconds(seconds)]],
  );
  const rows = CASES.flatMap(({ name, grammar, after }) => {
    const compile = (): CompiledGrammar => new CompiledGrammar(grammar(), trie, { endTokens: [end] });
    const compiled = compile();
    const compiling = milliseconds(quickest(0.5, compile));
    return Object.entries(after).map(([where, text]) => {
      check(compiled, text, tokens);
      const cold = Math.min(...Array.from({ length: FIRSTS }, () => firstMask(compile(), text)));
      const constraint = constraintAfter(compiled, text);
      const again = quickest(0.1, () => void constraint.allowed());
      return [
        name,
        compiling,
        where,
        milliseconds(cold),
        milliseconds(found(compiled, text)),
        milliseconds(again),
      ];
    });
  });
  printTable(
    "grammar: a mask of 129,280 tokens",
    ["grammar", "compiled in", "where", "first of all", "found", "kept"],
    rows,
  );
  return "masks are what a matcher says of every token";
}

function constraintAfter(compiled: CompiledGrammar, text: string): Constraint {
  const constraint = new Constraint(compiled);
  for (const byte of encoder.encode(text)) constraint.accept(byte); // the ids of single bytes are their values
  return constraint;
}

/** Seconds of a mask with no state known but those on the way. */
function firstMask(compiled: CompiledGrammar, text: string): number {
  const constraint = constraintAfter(compiled, text);
  const startedAt = performance.now();
  constraint.allowed();
  return (performance.now() - startedAt) / 1000;
}

/** Seconds of a mask that is not kept, of states that are. */
function found(compiled: CompiledGrammar, text: string): number {
  const constraint = constraintAfter(compiled, text);
  return quickest(0.3, () => {
    compiled.forgetMasks();
    constraint.allowed();
  });
}

function check(compiled: CompiledGrammar, text: string, tokens: readonly (Uint8Array | undefined)[]): void {
  const mask = constraintAfter(compiled, text).allowed();
  const matcher = new Matcher(compiled.automaton);
  assert.ok(matcher.advanceAll(encoder.encode(text)));
  for (const [id, bytes] of tokens.entries()) {
    const isAllowed = ((mask[id >>> 5]! >>> (id & 31)) & 1) === 1;
    const isMatched = bytes
      ? matcher.clone().advanceAll(bytes)
      : compiled.endTokens.has(id) && matcher.canEnd;
    assert.equal(isAllowed, isMatched, `token ${id} after ${text}`);
  }
}

function milliseconds(seconds: number): string {
  return `${(1000 * seconds).toFixed(seconds < 0.0001 ? 4 : 2)} ms`;
}
