/** The flat trie against the tokens that it was made of. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { largeVocabulary } from "../../bench/vocabulary.ts";
import { groupOf, ILL_FORMED, TokenTrie } from "../../src/grammar/token-trie.ts";
import { smallVocabulary } from "./vocabularies.ts";

/** By node, what leads to it, found by walking as the header says. */
function prefixesOf(trie: TokenTrie): string[] {
  const prefixes: string[] = [];
  const path: number[] = [];
  for (let node = 0; node < trie.numNodes; node++) {
    path.length = trie.depths[node]! - 1;
    path.push(trie.bytes[node]!);
    prefixes.push(path.join());
  }
  return prefixes;
}

test("TokenTrie has a node for each beginning of a token, and jumps to the first that begins otherwise", () => {
  const { tokens, trie } = smallVocabulary(["ab", "abc", "b", "ba", "abd", "日本", ""]);
  const prefixes = prefixesOf(trie);
  const expected = new Set(
    tokens.flatMap((bytes) => Array.from(bytes ?? [], (_, i) => bytes!.slice(0, i + 1).join())),
  );
  assert.deepEqual(new Set(prefixes), expected);
  assert.equal(prefixes.length, expected.size);
  for (const [node, prefix] of prefixes.entries()) {
    const under = prefixes.filter((other) => `${other},`.startsWith(`${prefix},`)).length;
    assert.equal(trie.ends[node], node + under);
  }
});

test("TokenTrie gives the ids of each node, also of tokens that are spelled alike", () => {
  const { tokens, trie, end } = smallVocabulary(["ab", "a", "ab"]);
  const prefixes = prefixesOf(trie);
  const idsOf = (prefix: string): number[] => {
    const node = prefixes.indexOf(prefix);
    return [...trie.tokens.subarray(trie.firstTokens[node]!, trie.firstTokens[node + 1]!)];
  };
  assert.deepEqual(idsOf("97,98"), [256, 258]);
  assert.deepEqual(idsOf("97"), [97, 257]);
  assert.equal(trie.tokens.length, tokens.filter(Boolean).length);
  assert.equal(trie.bytesOf(end).length, 0);
  assert.deepEqual([...trie.bytesOf(256)], [97, 98]);
});

test("TokenTrie tells groups, heights and form of what lies under a node", () => {
  const { tokens } = largeVocabulary(3000);
  const trie = new TokenTrie({ size: tokens.length, bytesOf: (id) => tokens[id] });
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const rests = new Map<string, Uint8Array[]>();
  for (const bytes of tokens) {
    for (let i = 1; bytes && i < bytes.length; i++) {
      const prefix = bytes.subarray(0, i).join();
      rests.set(prefix, [...(rests.get(prefix) ?? []), bytes.subarray(i)]);
    }
  }
  const isBeginning = (bytes: Uint8Array): boolean => {
    try {
      decoder.decode(bytes, { stream: true });
      return true;
    } catch {
      return false;
    } finally {
      try {
        decoder.decode(); // forgets what was cut off
      } catch {}
    }
  };
  let illFormed = 0;
  for (const [node, prefix] of prefixesOf(trie).entries()) {
    const under = rests.get(prefix) ?? [];
    let bits = under.every(isBeginning) ? 0 : ILL_FORMED;
    if (bits !== 0) illFormed++;
    for (const rest of under) for (const byte of rest) bits |= 1 << groupOf(byte);
    assert.equal(trie.groupsUnder[node], bits, prefix);
    assert.equal(trie.heights[node], Math.max(0, ...under.map(({ length }) => length)));
  }
  assert.ok(illFormed > 100);
});

test("TokenTrie refuses tokens that are too long", () => {
  assert.throws(() => new TokenTrie({ size: 1, bytesOf: () => new Uint8Array(70_000) }), RangeError);
});
