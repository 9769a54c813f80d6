/** Tokens to text, without half characters. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { openStore } from "../../src/checkpoint/stores.ts";
import { createStreamDecoder } from "../../src/text/stream-decoder.ts";
import { loadTokenizer, Tokenizer } from "../../src/text/tokenizer.ts";
import { deepseekTokenizer } from "./deepseek-tokenizer.ts";

const mini = await loadTokenizer(openStore("models/mini-v3"));
const bytes = new Tokenizer(deepseekTokenizer());
const idsOf = (...values: number[]) => values.map((byte) => byte + 3);

function stream(tokenizer: Tokenizer, ids: readonly number[], skipSpecial = false): string[] {
  const decoder = createStreamDecoder(tokenizer, { skipSpecial });
  return [...ids.map((id) => decoder.push(id)), decoder.flush()];
}

test("a character of four bytes comes out with its last byte", () => {
  assert.deepEqual(stream(bytes, idsOf(0x61, 0xf0, 0x9f, 0x99, 0x82, 0x62)), [
    "a",
    "",
    "",
    "",
    "🙂",
    "b",
    "",
  ]);
});

test("what stays incomplete is U+FFFD at the end", () => {
  assert.deepEqual(stream(bytes, idsOf(0x61, 0xf0, 0x9f)), ["a", "", "", "\ufffd"]);
});

test("a sequence that is broken off by another character is U+FFFD before it", () => {
  assert.deepEqual(stream(bytes, idsOf(0xe4, 0xbd, 0x61)), ["", "", "\ufffda", ""]);
});

test("a byte order mark is text", () => {
  assert.deepEqual(stream(bytes, idsOf(0xef, 0xbb, 0xbf, 0x61)), ["", "", "\ufeff", "a", ""]);
});

test("special tokens are left out on demand, also between the halves of a character", () => {
  const ids = [...idsOf(0xc3), 1, ...idsOf(0xa9)];
  assert.deepEqual(stream(bytes, ids, true), ["", "", "é", ""]);
  assert.equal(stream(bytes, ids).join(""), "\ufffd<｜end▁of▁sentence｜>\ufffd");
});

test("a decoder can be used again after flush()", () => {
  const decoder = createStreamDecoder(bytes);
  decoder.push(3 + 0xf0);
  assert.equal(decoder.flush(), "\ufffd");
  assert.equal(decoder.push(3 + 0x61), "a");
});

test("the outputs together are decode() of the whole, for any ids", () => {
  const id = fc.integer({ min: 0, max: mini.vocabSize - 1 });
  fc.assert(
    fc.property(fc.array(id, { maxLength: 30 }), fc.boolean(), (ids, skipSpecial) => {
      const outputs = stream(mini, ids, skipSpecial);
      assert.equal(outputs.join(""), mini.decode(ids, { skipSpecial }));
      assert.ok(
        outputs.every((text) => !/\p{Cs}/u.test(text)),
        "half a surrogate pair",
      );
    }),
    { seed: 2, numRuns: 1000 },
  );
});

test("10,000 bytes that begin no character take no longer than others", () => {
  const ids = idsOf(...Array.from({ length: 10_000 }, () => 0x80));
  assert.equal(stream(bytes, ids).join(""), "\ufffd".repeat(10_000));
});

/** SentencePiece as tokenizer.json has it: spaces are "▁", bytes are <0x…>, one leading space is dropped. */
function sentencePiece(): Tokenizer {
  const byteTokens = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
  );
  const tokens = ["<unk>", ...byteTokens, "▁", "H", "i", "Hi", "▁Hi"];
  return new Tokenizer({
    added_tokens: [{ id: 0, content: "<unk>", special: true }],
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: {
      type: "BPE",
      unk_token: "<unk>",
      byte_fallback: true,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: [
        ["H", "i"],
        ["▁", "Hi"],
      ],
    },
  });
}

test("other vocabularies stream too: a token's text depends on its neighbours", () => {
  const tokenizer = sentencePiece();
  const text = "Hi Hi  🙂é Hi";
  const ids = tokenizer.encode(text);
  assert.equal(tokenizer.decode(ids), text);
  const outputs = stream(tokenizer, ids);
  assert.deepEqual(outputs.slice(0, 2), ["Hi", " Hi"]);
  assert.equal(outputs.join(""), text);
  assert.throws(() => tokenizer.bytesOf(1), TypeError);
});
