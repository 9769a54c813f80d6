/** Tokens to events: the decoder and the parser together. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openStore } from "../../src/checkpoint/stores.ts";
import { gatherOutput } from "../../src/text/output-events.ts";
import { MARKERS, type OutputParserOptions } from "../../src/text/output-parser.ts";
import { OutputReader, specialMarkers } from "../../src/text/output-reader.ts";
import { loadTokenizer, Tokenizer } from "../../src/text/tokenizer.ts";
import { deepseekTokenizer } from "./deepseek-tokenizer.ts";

function read(tokenizer: Tokenizer, ids: readonly number[], options: OutputParserOptions = {}) {
  const reader = new OutputReader(tokenizer, options);
  return gatherOutput([...ids.flatMap((id) => reader.push(id)), ...reader.finish("stop")]);
}

test("the small models' tags are found in the text, the end token is left out", async () => {
  const mini = await loadTokenizer(openStore("models/mini-r1"));
  assert.equal(specialMarkers(mini).size, 0);
  const { reasoning, content } = read(mini, [...mini.encode("<think>\n1 + 1 é</think>\n\nIt is 2 🙂"), 1]);
  assert.deepEqual([reasoning, content], ["1 + 1 é", "It is 2 🙂"]);
});

test("special markers are found by id, also after half a character", () => {
  const tokenizer = new Tokenizer(deepseekTokenizer({ added: MARKERS }));
  assert.equal(specialMarkers(tokenizer).size, MARKERS.length - 2); // <think> and </think> are ordinary
  const half = 3 + 0xf0;
  const before = tokenizer.encode("a");
  const calls = tokenizer.encode(
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
  );
  const output = read(tokenizer, [...before, half, ...calls], { toolGrammar: "v3.1" });
  assert.equal(output.content, "a\ufffd");
  assert.deepEqual(
    output.toolCalls.map(({ name, isValid }) => [name, isValid]),
    [["f", true]],
  );
});
