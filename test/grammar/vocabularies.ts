/** Vocabularies to try grammars on: the small models' own, and bytes with a few words. */
import { openStore } from "../../src/checkpoint/stores.ts";
import { TokenTrie } from "../../src/grammar/token-trie.ts";
import { loadTokenizer, type Tokenizer } from "../../src/text/tokenizer.ts";

const encoder = new TextEncoder();

export interface SmallVocabulary {
  tokens: (Uint8Array | undefined)[];
  trie: TokenTrie;
  end: number;
}

/** All 256 bytes, then these texts, then ids without bytes; the first of those ends outputs. */
export function smallVocabulary(texts: readonly (string | Uint8Array)[], special = 2): SmallVocabulary {
  const tokens = Array.from({ length: 256 }, (_, byte): Uint8Array | undefined => Uint8Array.of(byte));
  tokens.push(...texts.map((text) => (typeof text === "string" ? encoder.encode(text) : text)));
  const end = tokens.length;
  for (let i = 0; i < special; i++) tokens.push(undefined);
  const trie = new TokenTrie({ size: tokens.length, bytesOf: (id) => tokens[id] });
  return { tokens, trie, end };
}

export async function miniVocabulary(): Promise<{ tokenizer: Tokenizer; trie: TokenTrie; end: number }> {
  const tokenizer = await loadTokenizer(openStore("models/mini-r1"));
  const bytesOf = (id: number): Uint8Array | undefined =>
    tokenizer.hasToken(id) && !tokenizer.isSpecial(id) ? tokenizer.bytesOf(id) : undefined;
  return { tokenizer, trie: new TokenTrie({ size: tokenizer.vocabSize, bytesOf }), end: tokenizer.eos[0]! };
}
