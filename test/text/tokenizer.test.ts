/** Tokenizers as DeepSeek's: pieces, special tokens, and files that are no use. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CheckpointError } from "../../src/base/errors.ts";
import { openStore } from "../../src/checkpoint/stores.ts";
import type { JsonObject } from "../../src/text/json-file.ts";
import { loadTokenizer, Tokenizer } from "../../src/text/tokenizer.ts";
import { deepseekTokenizer, filesOf } from "./deepseek-tokenizer.ts";

/** model.md section 13.1. */
const PIECES: [text: string, pieces: string[]][] = [
  ["Hello world", ["Hello", " world"]],
  ["x = 12345;", ["x", " =", " ", "123", "45", ";"]],
  ["  indented\n\n  next", [" ", " indented", "\n\n", " ", " next"]],
  ["don't .foo(bar)", ["don", "'t", " .", "foo", "(bar", ")"]],
  ["你好ABC世界", ["你好", "ABC", "世界"]],
  ["カタカナとkanji漢字", ["カタカナと", "kanji", "漢字"]],
  ["a   b", ["a", "  ", " b"]],
  ["3.14159 and 1,000", ["3", ".", "141", "59", " and", " ", "1", ",", "000"]],
  ["!!!\n\nOk", ["!!!\n\n", "Ok"]],
  ["__init__", ["__", "init", "__"]],
  ["🙂🙂 hi", ["🙂🙂", " hi"]],
  ["\u0085\u0085 1", ["\u0085\u0085 ", "1"]],
  ["\ufeff\ufeff 1", ["\ufeff\ufeff", " ", "1"]],
];

for (const [text, pieces] of PIECES) {
  test(`the pre-tokenizer cuts ${JSON.stringify(text)} as the Rust library does`, () => {
    // Every piece is one token, so a cut that is missing or too many shows as other tokens.
    const tokenizer = new Tokenizer(deepseekTokenizer({ pieces }));
    const ids = tokenizer.encode(text);
    assert.deepEqual(
      ids.map((id) => tokenizer.decode([id])),
      pieces,
    );
  });
}

/** Made with the Rust library (tokenizers 0.23.2) from models/mini-v3/tokenizer.json. */
const MINI: [text: string, ids: number[]][] = [
  ["", []],
  ["Hello world", [42, 376, 81, 288, 292, 78, 70]],
  ["x = 12345;", [90, 260, 223, 19, 20, 21, 22, 23, 29]],
  ["  indented\n\n  next", [223, 308, 70, 386, 334, 70, 263, 223, 385, 71, 90, 86]],
  ["don't .foo(bar)", [70, 438, 557, 223, 16, 72, 277, 10, 68, 322, 11]],
  ["你好ABC世界", [163, 124, 257, 164, 101, 124, 35, 36, 37, 163, 119, 247, 166, 246, 237]],
  ["3.14159 and 1,000", [21, 16, 19, 22, 19, 23, 27, 545, 223, 19, 14, 18, 18, 18]],
  ["\u0085\u0085 1", [129, 230, 129, 230, 223, 19]],
  ["\ufeff\ufeff 1", [174, 122, 126, 174, 122, 126, 223, 19]],
  ["a\u180e\u2028b\u00a0\u3000c", [67, 160, 257, 239, 161, 225, 104, 68, 129, 257, 162, 225, 225, 69]],
  ["é e\u0301", [130, 105, 320, 139, 226]],
  ["<think>x</think>", [634, 90, 635]],
  ["<｜User｜>hi<｜Assistant｜>", [632, 74, 75, 633]],
  ["<｜Us <think </think>>", [30, 174, 124, 253, 55, 85, 223, 30, 86, 74, 75, 353, 223, 635, 32]],
  ["½ ٣٤ Ⅷ ²", [129, 124, 223, 152, 99, 152, 100, 223, 161, 230, 103, 223, 129, 113]],
  ["\x00\x1c\x0b\t \r\n \n", [191, 219, 202, 200, 223, 204, 201, 223, 201]],
];

const mini = await loadTokenizer(openStore("models/mini-v3"));

test("the small models' tokenizer gives the ids of the Rust library, and their text back", () => {
  for (const [text, ids] of MINI) {
    assert.deepEqual(mini.encode(text), ids, JSON.stringify(text));
    assert.equal(mini.decode(ids), text);
  }
});

test("decode(encode(text)) is the text, for any text", () => {
  const text = fc.string({ unit: "binary", maxLength: 40 });
  const wellFormed = text.filter((value) => !/\p{Cs}/u.test(value));
  fc.assert(
    fc.property(wellFormed, (value) => assert.equal(mini.decode(mini.encode(value)), value)),
    { seed: 1, numRuns: 500 },
  );
});

test("the small models' tokenizer knows its special tokens and its holes", () => {
  assert.equal(mini.vocabSize, 636);
  assert.deepEqual([mini.bos, mini.eos], [0, [1]]);
  assert.deepEqual([mini.bosToken, mini.eosToken], ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"]);
  assert.equal(mini.idOf("<think>"), 634);
  assert.equal(mini.tokenOf(632), "<｜User｜>");
  assert.equal(mini.idOf("no such token"), undefined);
  assert.ok(mini.isSpecial(632) && !mini.isSpecial(634));
  assert.ok(mini.hasToken(635) && !mini.hasToken(636) && !mini.hasToken(-1));
  assert.deepEqual(mini.idsWithoutToken(640), [636, 637, 638, 639]);
});

test("decode() leaves special tokens out on demand and keeps <think>", () => {
  const ids = mini.encode("<｜User｜>hi<｜Assistant｜><think>x</think>");
  assert.equal(mini.decode(ids, { skipSpecial: true }), "hi<think>x</think>");
  assert.equal(mini.decode([1], { skipSpecial: true }), "");
});

test("decode() never tidies spaces before punctuation", () => {
  assert.equal(mini.decode(mini.encode("a , b . c 's")), "a , b . c 's");
});

test("decode() refuses an id without a token", () => {
  assert.throws(() => mini.decode([636]), /Cannot decode id 636: it has no token/);
});

const BEGIN = { SpecialToken: { id: "<｜begin▁of▁sentence｜>", type_id: 0 } };
const template = {
  type: "TemplateProcessing",
  single: [BEGIN, { Sequence: { id: "A", type_id: 0 } }],
  pair: [],
};
const withBegin = { ...deepseekTokenizer(), post_processor: { ...template, special_tokens: {} } };
const names = { bos_token: "<｜begin▁of▁sentence｜>", eos_token: { content: "<｜end▁of▁sentence｜>" } };

test("encode() adds the begin token only when asked to, and once", () => {
  for (const add_bos_token of [true, false]) {
    const tokenizer = new Tokenizer(withBegin, { tokenizerConfig: { ...names, add_bos_token } });
    assert.deepEqual(tokenizer.encode("!"), [3 + 33]);
    assert.deepEqual(tokenizer.encode("!", { addSpecial: true }), [0, 3 + 33]);
  }
  const tokenizer = new Tokenizer(deepseekTokenizer(), {
    tokenizerConfig: { ...names, add_bos_token: true },
  });
  assert.deepEqual(tokenizer.encode("!", { addSpecial: true }), [0, 3 + 33]);
  assert.deepEqual(tokenizer.encode("", { addSpecial: true }), [0]);
});

test("end tokens come from all three files, in order and once; ids without a token are left out", () => {
  const eos = (settings: Record<string, JsonObject>) =>
    new Tokenizer(deepseekTokenizer({ added: ["<｜User｜>"] }), settings).eos;
  assert.deepEqual(eos({}), []);
  assert.deepEqual(eos({ config: { eos_token_id: 1 } }), [1]);
  assert.deepEqual(
    eos({ generationConfig: { eos_token_id: [2, 259, 9999] }, config: { eos_token_id: 5 } }),
    [2, 259],
  );
  assert.deepEqual(eos({ tokenizerConfig: names, generationConfig: { eos_token_id: 259 } }), [259, 1]);
  assert.deepEqual(eos({ tokenizerConfig: names, config: { eos_token_id: 1 } }), [1]);
});

const good = deepseekTokenizer();
const model = good.model as JsonObject;
const withModel = (change: JsonObject) => ({ ...good, model: { ...model, ...change } });
const withSplit = (change: JsonObject) => ({
  ...good,
  pre_tokenizer: { type: "Split", pattern: { Regex: "a" }, behavior: "Isolated", ...change },
});
const { "!": _, ...withoutMark } = model.vocab as JsonObject;

const BAD: [what: string, content: string | Uint8Array | JsonObject | undefined, message: RegExp][] = [
  ["no file", undefined, /Cannot open "tokenizer.json": there is no such file/],
  ["malformed JSON", '{"model": {,}', /Cannot read "tokenizer.json": it is not valid JSON: /],
  ["not UTF-8", new Uint8Array([0x7b, 0xff]), /Cannot read "tokenizer.json": it is not valid UTF-8/],
  ["a list", "[]", /Cannot read "tokenizer.json": it holds no JSON object/],
  ["no model", {}, /"tokenizer.json": it has no "model"/],
  [
    "an unknown model",
    withModel({ type: "WordLevel" }),
    /its model type is "WordLevel", wanted BPE, WordPiece, Unigram/,
  ],
  ["no vocabulary", withModel({ vocab: [] }), /its model has no "vocab"/],
  [
    "an id that is no number",
    withModel({ vocab: { a: "1" } }),
    /the id of "a" is "1", wanted a whole number/,
  ],
  ["an id that is too large", withModel({ vocab: { a: 1e9 } }), /the id of "a" is 1000000000, wanted/],
  [
    "a merge of three",
    withModel({ merges: [["a", "b", "c"]] }),
    /merge 0 is \["a","b","c"\], wanted two tokens/,
  ],
  ["no merges", withModel({ merges: null }), /its model has no "merges"/],
  ["a byte without a token", withModel({ vocab: withoutMark }), /1 of 243 bytes have no token \(first 33\)/],
  ["added tokens without content", { ...good, added_tokens: [{ id: 1 }] }, /added token 0 has no content/],
  ["an unknown split", withSplit({ behavior: "MergedWithNext" }), /splits with behaviour "MergedWithNext"/],
  ["an anchor that JavaScript lacks", withSplit({ pattern: { Regex: "\\Ga" } }), /a regex with \\G/],
  ["a broken regex", withSplit({ pattern: { Regex: "(" } }), /Cannot use "tokenizer.json": Invalid regular/],
  ["an unknown normalizer", { ...good, normalizer: { type: "Nmt" } }, /Cannot use "tokenizer.json": .*Nmt/],
];

for (const [what, content, message] of BAD) {
  test(`loadTokenizer() refuses ${what}`, async () => {
    await assert.rejects(
      loadTokenizer(filesOf(content === undefined ? {} : { "tokenizer.json": content })),
      (error) => {
        assert.ok(error instanceof CheckpointError);
        assert.match(error.message, message);
        return true;
      },
    );
  });
}

test("ByteLevel's own regex takes U+0085 as space and U+FEFF as a character", () => {
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, use_regex: true };
  const pieces = ["\u0085", "\ufeff", "a"];
  const json = { ...deepseekTokenizer({ pieces }), pre_tokenizer: byteLevel };
  const tokenizer = new Tokenizer(json);
  const cut = (text: string) => tokenizer.encode(text).map((id) => tokenizer.decode([id]));
  assert.deepEqual(cut("a\u0085a"), ["a", "\u0085", "a"]);
  assert.deepEqual(cut("a\ufeffa"), ["a", "\ufeff", "a"]);
});
