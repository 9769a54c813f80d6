/** A vocabulary of the size of DeepSeek's, made up: what it is shaped like is what a walk through it costs. */
import { seededRandom } from "../src/statistics/random.ts";

const encoder = new TextEncoder();

export interface LargeVocabulary {
  tokens: (Uint8Array | undefined)[];
  /** The id that ends an output; the last two have no bytes. */
  end: number;
}

/**
 * Bytes, words with and without a space before them, runs of spaces and punctuation, halves of characters; the
 * last two ids are special. Distinct, from a seed.
 */
export function largeVocabulary(size: number = 129_280): LargeVocabulary {
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
