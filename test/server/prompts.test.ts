/** Prompts of any length: refused before they are cut, cut once, echoed whole. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import OpenAI from "openai";
import type { LoadedModel } from "../../src/server/served-model.ts";
import { type RunningServer, startServed } from "../support/served.ts";

const MODEL = "mini-r1";

let run: RunningServer;
let loaded: LoadedModel;
before(async () => {
  run = await startServed({ places: ["models/mini-r1"] });
  loaded = await run.serving.models.use(MODEL, { count: 1 }, async (model) => model);
});
after(() => run.close());

async function tooLong(asked: Promise<unknown>, param: string): Promise<string> {
  const failure = await asked.then(() => undefined).catch((error) => error);
  assert.ok(failure instanceof OpenAI.BadRequestError, String(failure));
  assert.deepEqual([failure.code, failure.param], ["context_length_exceeded", param]);
  return failure.message;
}

const chat = (content: string) =>
  run.client.chat.completions.create({
    model: MODEL,
    messages: [{ role: "user", content }],
    max_tokens: 1,
    n: 16,
  });
const complete = (prompt: string | number[]) =>
  run.client.completions.create({ model: MODEL, prompt, max_tokens: 1, n: 16 });

describe("a prompt that is too long", () => {
  for (const [name, piece, count] of [
    ["one word", "a", 5e6],
    ["words", "hello world ", 4e5],
    ["white space", " \n", 2e6],
    ["wide characters", "界", 2e6],
  ] as const)
    test(`by far, of ${name}, is refused at once`, async () => {
      const text = piece.repeat(count);
      const startedAt = performance.now();
      assert.match(await tooLong(chat(text), "messages"), /at least \d+ tokens/);
      assert.match(await tooLong(complete(text), "prompt"), /at least \d+ tokens/);
      const ms = performance.now() - startedAt;
      assert.ok(ms < 5000, `${ms} ms`);
    });

  test("by a token is refused, and one that just fits is taken", async () => {
    const ids = Array.from({ length: 1024 }, (_, i) => 40 + (i % 300));
    assert.match(await tooLong(complete([...ids, 40]), "prompt"), /has 1025 tokens, wanted at most the 1024/);
    const { usage, choices } = await run.client.completions.create({
      model: MODEL,
      prompt: ids,
      max_tokens: 5,
    });
    assert.equal(usage!.prompt_tokens, 1024);
    assert.deepEqual([choices[0]!.finish_reason, choices[0]!.text], ["length", ""]);
    const one = await run.client.completions.create({ model: MODEL, prompt: ids.slice(1), max_tokens: 5 });
    assert.equal(one.usage!.completion_tokens, 1, "and as much of the answer as fits");
  });
});

test("what is cut once for sixteen choices is what each would get", async () => {
  const { encode } = loaded.text.tokenizer;
  let count = 0;
  loaded.text.tokenizer.encode = (...args) => {
    count++;
    return encode.apply(loaded.text.tokenizer, args);
  };
  try {
    const { choices } = await run.client.chat.completions.create({
      ...{ model: MODEL, messages: [{ role: "user", content: "What is 17 + 25?" }] },
      ...{ temperature: 0, n: 16, max_tokens: 12 },
    });
    assert.equal(new Set(choices.map(({ message }) => JSON.stringify(message))).size, 1);
    assert.equal(choices.length, 16);
    assert.equal(count, 1);
  } finally {
    loaded.text.tokenizer.encode = encode;
  }
});

test("an echo has every token of the prompt but a BOS that was put before it", async () => {
  const { tokenizer } = loaded.text;
  for (const prompt of [
    "17 + 25",
    "\ud83d half",
    "é",
    "<｜begin▁of▁sentence｜>17",
    "<｜User｜>Hi<｜Assistant｜>",
    " ",
  ]) {
    const own = tokenizer.encode(prompt);
    const body = { model: MODEL, prompt, echo: true, logprobs: 2, max_tokens: 0 };
    const { choices } = await run.client.completions.create(body);
    const { tokens, token_logprobs: values, top_logprobs: tops, text_offset: places } = choices[0]!.logprobs!;
    assert.equal(choices[0]!.text, prompt);
    assert.equal(tokens!.length, own.length, JSON.stringify(prompt));
    assert.deepEqual([values!.length, tops!.length, places!.length], [own.length, own.length, own.length]);
    const startsWithBos = own[0] === tokenizer.bos;
    assert.equal(values![0] === null, startsWithBos, "nothing stands before a BOS");
    assert.ok(values!.slice(1).every((value) => typeof value === "number"));
  }
});

test("seventeen answers at once warn of nothing", async () => {
  const warnings: Error[] = [];
  const listen = (warning: Error) => void warnings.push(warning);
  process.on("warning", listen);
  await run.client.completions.create({ model: MODEL, prompt: Array(17).fill("a"), max_tokens: 1 });
  await new Promise((resume) => setTimeout(resume, 50));
  process.off("warning", listen);
  assert.deepEqual(warnings, []);
});
