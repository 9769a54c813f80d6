/** Likelihoods as the protocol tells them: texts, bytes, places. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { openStore } from "../../src/checkpoint/stores.ts";
import { CompletionLikelihoods, chatLogprob, codePoints, tokenText } from "../../src/server/token-text.ts";
import { loadTokenizer } from "../../src/text/tokenizer.ts";

const tokenizer = await loadTokenizer(openStore("models/mini-r1"));
const likelihood = (token: number, logprob: number, top: [number, number][] = []) => ({
  ...{ token, logprob, top: top.map(([id, value]) => ({ token: id, logprob: value })) },
});

describe("CompletionLikelihoods", () => {
  test("places are those of the tokens in the text, in code points", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 30 }), fc.nat(50), (text, offset) => {
        const ids = tokenizer.encode(text);
        const gathered = new CompletionLikelihoods(tokenizer, { numTop: 0, offset });
        for (const id of ids) gathered.add(id, likelihood(id, -1));
        const { tokens, text_offset: places, token_logprobs: values, top_logprobs: tops } = gathered.taken();
        assert.equal(tops, null);
        assert.deepEqual([tokens.length, places.length, values.length], [ids.length, ids.length, ids.length]);
        for (const [i, id] of ids.entries()) {
          const before = tokenizer.decode(ids.slice(0, i));
          // Where a character is cut, what comes before it is whole.
          assert.equal(places[i], offset + codePoints(before.replace(/\ufffd+$/, "")));
          assert.equal(tokens[i], tokenText(tokenizer, id));
        }
      }),
    );
  });

  test("taken() gives what came since, and places go on", () => {
    const gathered = new CompletionLikelihoods(tokenizer, { numTop: 1 });
    const [a, b] = tokenizer.encode("12") as [number, number];
    gathered.add(a, undefined);
    assert.deepEqual(gathered.taken(), {
      ...{ tokens: ["1"], token_logprobs: [null], top_logprobs: [null], text_offset: [0] },
    });
    gathered.add(b, likelihood(b, -2, [[a, -1]]));
    assert.deepEqual(gathered.taken(), {
      ...{ tokens: ["2"], token_logprobs: [-2], top_logprobs: [{ "1": -1, "2": -2 }], text_offset: [1] },
    });
    assert.deepEqual(gathered.taken().tokens, []);
  });

  test("of several tokens of one text the likeliest is told; what JSON has no number for is told as the least", () => {
    const [half, other] = tokenizer.encode("é") as [number, number];
    assert.notEqual(half, other);
    const gathered = new CompletionLikelihoods(tokenizer, { numTop: 2 });
    gathered.add(half, likelihood(half, Number.NEGATIVE_INFINITY, [[other, -0.5]]));
    const told = gathered.taken();
    assert.deepEqual(told.top_logprobs, [{ "\ufffd": -0.5 }]);
    assert.deepEqual(told.token_logprobs, [-9999]);
    assert.equal(JSON.parse(JSON.stringify(told)).token_logprobs[0], -9999);
  });
});

test("chatLogprob() tells bytes, of half a character too", () => {
  const ids = tokenizer.encode("é");
  const told = ids.map((id) => chatLogprob(tokenizer, likelihood(id, -1, [[ids[0]!, -0.1]])));
  assert.equal(Buffer.from(told.flatMap(({ bytes }) => bytes)).toString(), "é");
  assert.ok(told.every(({ token }) => token === "\ufffd"));
  assert.deepEqual(told[1]!.top_logprobs, [{ token: "\ufffd", logprob: -0.1, bytes: told[0]!.bytes }]);
});

test("an id without a token has no text", () => {
  assert.equal(tokenText(tokenizer, 639_999), "");
});
