/** Vocabularies to try grammars on: the small models' own, a few bytes, and one of the size of DeepSeek's. */
import { openStore } from "../../src/checkpoint/stores.ts";
import { TokenTrie } from "../../src/grammar/token-trie.ts";
import { seededRandom } from "../../src/statistics/random.ts";
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

/**
 * Bytes, words with and without a space before them, runs of spaces and punctuation, halves of characters; the
 * last two ids are special. Distinct, from a seed.
 */
export function largeVocabulary(size = 129_280): { tokens: (Uint8Array | undefined)[]; end: number } {
  const random = seededRandom(1);
  const pick = (text: string): string => text[random.nextInt(text.length)]!;
  const seen = new Set<string>();
  const tokens: (Uint8Array | undefined)[] = [];
  const add = (bytes: Uint8Array): void => {
    const key = bytes.join();
    if (seen.has(key) || tokens.length >= size - 2) return;
    seen.add(key);
    tokens.push(bytes);
  };
  for (let byte = 0; byte < 256; byte++) add(Uint8Array.of(byte));
  for (let n = 2; n <= 128; n++) add(encoder.encode(" ".repeat(n)));
  for (const a of '{}[],:"\\\n ')
    for (const b of '{}[],:"\\\n ') for (const c of '{}[],:"\\\n 1a') add(encoder.encode(a + b + c));
  const syllables = Array.from(
    { length: 400 },
    () => pick("bcdfghklmnprstvw") + pick("aeiou") + pick("nrsltm "),
  );
  while (tokens.length < size - 2) {
    const kind = random.nextInt(20);
    let text = Array.from({ length: 1 + random.nextInt(3) }, () =>
      syllables[random.nextInt(400)]!.trim(),
    ).join("");
    if (kind < 10) text = ` ${text}`;
    else if (kind === 10) text = text.toUpperCase();
    else if (kind === 11) text = pick('{}[],:"\\/-_.') + text + pick('{}[],:"\\/-_.');
    else if (kind === 12) text = String(random.nextInt(1000));
    else if (kind > 15) {
      text = Array.from({ length: 1 + random.nextInt(4) }, () =>
        String.fromCodePoint(0x4e00 + random.nextInt(5000)),
      ).join("");
      const bytes = encoder.encode(text);
      add(random.nextInt(4) === 0 ? bytes.subarray(random.nextInt(2), bytes.length - 1) : bytes);
      continue;
    }
    add(encoder.encode(text));
  }
  tokens.push(undefined, undefined);
  return { tokens, end: size - 2 };
}
