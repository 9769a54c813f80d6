/** A tokenizer.json of DeepSeek's form: its three Splits, the byte alphabet, and the tokens that a test wants. */
import { BYTE_SYMBOLS } from "../../src/text/byte-level.ts";
import type { JsonObject, TextFiles } from "../../src/text/json-file.ts";

const SPLITS = [
  "\\p{N}{1,3}",
  "[一-龥\u3040-ゟ゠-ヿ]+",
  "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
];

export interface Wanted {
  /** Texts that are one token when the pre-tokenizer yields them as one piece. */
  pieces?: readonly string[];
  merges?: readonly (readonly [string, string])[];
  /** Contents of added tokens, special unless they end in ">" after a plain letter (as <think> does). */
  added?: readonly string[];
}

/** Ids: 0–2 begin, end and padding; 3–258 the bytes; then merges, pieces, added tokens. */
export function deepseekTokenizer({ pieces = [], merges = [], added = [] }: Wanted = {}): JsonObject {
  const low = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"];
  const tokens = [...low, ...BYTE_SYMBOLS, ...merges.map((pair) => pair.join("")), ...pieces.map(symbolsOf)];
  const vocabulary = new Map<string, number>();
  for (const token of tokens) if (!vocabulary.has(token)) vocabulary.set(token, vocabulary.size);
  const more = added.map((content, index) => addedToken(content, vocabulary.size + index));
  const splits = SPLITS.map((regex) => ({
    type: "Split",
    pattern: { Regex: regex },
    behavior: "Isolated",
    invert: false,
  }));
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
  return {
    version: "1.0",
    added_tokens: [...low.map(addedToken), ...more],
    normalizer: null,
    pre_tokenizer: { type: "Sequence", pretokenizers: [...splits, byteLevel] },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      unk_token: null,
      byte_fallback: false,
      ignore_merges: pieces.length > 0,
      vocab: Object.fromEntries(vocabulary),
      merges,
    },
  };
}

function addedToken(content: string, id: number): JsonObject {
  const rest = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  return { id, content, ...rest, special: !/[a-z]>$/.test(content) };
}

/** A piece as the vocabulary spells it. */
export function symbolsOf(piece: string): string {
  return [...new TextEncoder().encode(piece)].map((byte) => BYTE_SYMBOLS[byte]!).join("");
}

/** Files of a checkpoint from a map of their contents; objects become JSON. */
export function filesOf(contents: Record<string, string | Uint8Array | JsonObject>): TextFiles {
  return {
    readSmall: async (name) => {
      const content = contents[name];
      if (content === undefined || content instanceof Uint8Array) return content;
      return new TextEncoder().encode(typeof content === "string" ? content : JSON.stringify(content));
    },
  };
}
