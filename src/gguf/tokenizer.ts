/**
 * The tokenizer in the metadata of a GGUF, as the files of a checkpoint: tokenizer.json and
 * tokenizer_config.json. Only byte-level BPE with a pre-tokenizer that is known by name can be told; of any
 * other there is no tokenizer.json, and whoever wants one says so.
 */
import { MetadataReader } from "./metadata.ts";
import type { GgufModel } from "./model.ts";

/** Kinds of tokens, `tokenizer.ggml.token_type`. */
export const TOKEN_TYPES = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** How text is split before BPE, by llama.cpp's name for it: the expressions of the steps in tokenizer.json. */
export const PRE_TOKENIZERS: Readonly<Record<string, readonly string[]>> = {
  "deepseek-v3": [
    "\\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  ],
};

/** Files by name; none that cannot be told. */
export function tokenizerFilesOf(model: Pick<GgufModel, "metadata" | "label">): Map<string, object> {
  const reader = new MetadataReader(model, "tokenizer.");
  const files = new Map<string, object>();
  const tokens = reader.strings("ggml.tokens");
  if (tokens === undefined) return files;
  const token = (name: string) => {
    const id = reader.number(`ggml.${name}_token_id`);
    const text = id === undefined ? undefined : tokens[id];
    return text === undefined ? {} : { [`${name === "padding" ? "pad" : name}_token`]: text };
  };
  const template = reader.string("chat_template");
  files.set("tokenizer_config.json", {
    add_bos_token: reader.flag("ggml.add_bos_token") ?? false,
    ...token("bos"),
    ...token("eos"),
    ...token("padding"),
    tokenizer_class: "PreTrainedTokenizerFast",
    ...(template === undefined ? {} : { chat_template: template }),
  });
  const merges = reader.strings("ggml.merges");
  const splits = PRE_TOKENIZERS[reader.string("ggml.pre") ?? ""];
  if (reader.string("ggml.model") !== "gpt2" || merges === undefined || splits === undefined) return files;
  const types = reader.numbers("ggml.token_type") ?? [];
  files.set("tokenizer.json", tokenizerJson({ tokens, types, merges, splits }));
  return files;
}

function tokenizerJson({
  tokens,
  types,
  merges,
  splits,
}: {
  tokens: readonly string[];
  types: ArrayLike<number>;
  merges: readonly string[];
  splits: readonly string[];
}): object {
  const vocab: [string, number][] = [];
  const added: object[] = [];
  for (const [id, content] of tokens.entries()) {
    const type = types[id] ?? TOKEN_TYPES.normal;
    if (type === TOKEN_TYPES.unused) continue;
    if (type === TOKEN_TYPES.control || type === TOKEN_TYPES.userDefined) {
      const special = type === TOKEN_TYPES.control;
      const exact = { single_word: false, lstrip: false, rstrip: false, normalized: false };
      added.push({ id, content, ...exact, special });
    } else vocab.push([content, id]);
  }
  const pattern = (Regex: string) => ({
    type: "Split",
    pattern: { Regex },
    behavior: "Isolated",
    invert: false,
  });
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: { type: "Sequence", pretokenizers: [...splits.map(pattern), byteLevel] },
    post_processor: null,
    decoder: { ...byteLevel, add_prefix_space: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(vocab),
      merges,
    },
  };
}
