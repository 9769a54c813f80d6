/** The official client against the server: chats and completions, whole and streamed, over the small models. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { LanguageModel } from "../../src/library/language-model.ts";
import { likelihoodsBehind } from "../../src/runtime/likelihood.ts";
import { gatherOutput } from "../../src/text/output-events.ts";
import { gathered, type RunningServer, startServed } from "../support/served.ts";

const QUESTIONS = [
  "What is 17 + 25?",
  "Spell river backwards.",
  "Tell me about the Grey Paper.",
  "Grüße, 😀?",
];
const ask = (content: string) => [{ role: "user" as const, content }];
const MODEL = "mini-r1";

interface Thinking {
  content: string | null;
  reasoning_content?: string;
}

let run: RunningServer;
/** The same model without a server. */
let own: LanguageModel;
before(async () => {
  run = await startServed({ places: ["models"] });
  const { text } = await run.serving.models.use(MODEL, { count: 1 }, async (loaded) => loaded);
  own = new LanguageModel(text.model);
});
after(() => run.close());

/** What the library answers by itself. */
async function alone(question: string): Promise<{ content: string; reasoning: string }> {
  const events = await gathered(own.generate(question, { temperature: 0, maxTokens: 200 }));
  const { content, reasoning } = gatherOutput(events);
  return { content, reasoning };
}

/** Deltas put together, by choice. */
function merged(
  chunks: { choices: { index: number; delta: object; finish_reason: string | null }[] }[],
  index = 0,
) {
  const message = { content: "", reasoning_content: "" };
  let finish: string | null = null;
  for (const choice of chunks.flatMap(({ choices }) => choices)) {
    if (choice.index !== index) continue;
    const delta = choice.delta as Partial<Thinking>;
    message.content += delta.content ?? "";
    message.reasoning_content += delta.reasoning_content ?? "";
    finish = choice.finish_reason ?? finish;
  }
  return { ...message, finish };
}

describe("models", () => {
  test("list() has every model in its order, retrieve() one", async () => {
    const ids = (await gathered(run.client.models.list())).map(({ id }) => id);
    assert.deepEqual(ids, ["mini-r1", "mini-r1-1776", "mini-v3"]);
    const { id, object, owned_by: owner } = await run.client.models.retrieve("mini-v3");
    assert.deepEqual({ id, object, owner }, { id: "mini-v3", object: "model", owner: "chimera" });
  });
});

describe("chat.completions", () => {
  for (const question of QUESTIONS) {
    test(`create() answers "${question}" as the library does, whole and streamed`, async () => {
      const wanted = await alone(question);
      const body = { model: MODEL, messages: ask(question), temperature: 0, max_tokens: 200 };
      const whole = await run.client.chat.completions.create(body);
      const { content, reasoning_content: reasoning } = whole.choices[0]!.message as Thinking;
      assert.deepEqual({ content, reasoning: reasoning ?? "" }, wanted);
      const chunks = await gathered(await run.client.chat.completions.create({ ...body, stream: true }));
      const streamed = merged(chunks);
      assert.equal(streamed.content, wanted.content);
      assert.equal(streamed.reasoning_content, wanted.reasoning);
      assert.equal(streamed.finish, whole.choices[0]!.finish_reason);
      assert.ok(chunks.length > 4, "it comes in pieces");
      assert.equal(new Set(chunks.map(({ id }) => id)).size, 1);
    });
  }

  test("create() counts the tokens: the prompt's, the answer's, those of thinking", async () => {
    const { tokenizer } = await own.text();
    const messages = ask(QUESTIONS[0]!);
    const { usage, choices } = await run.client.chat.completions.create({
      ...{ model: MODEL, messages, temperature: 0 },
    });
    const prompt = tokenizer.encode(await (await own.text()).render(messages));
    assert.equal(usage!.prompt_tokens, prompt.length);
    assert.equal(usage!.total_tokens, usage!.prompt_tokens + usage!.completion_tokens);
    const thinking = usage!.completion_tokens_details!.reasoning_tokens!;
    const answer = tokenizer.encode(`\n\n${choices[0]!.message.content}`).length;
    assert.equal(usage!.completion_tokens, thinking + answer + 1, "and the end token");
  });

  test("include_usage sends a last chunk without choices, whose usage is that of the whole", async () => {
    const body = { model: MODEL, messages: ask(QUESTIONS[0]!), temperature: 0, n: 2 };
    const whole = await run.client.chat.completions.create(body);
    const options = { stream: true, stream_options: { include_usage: true } } as const;
    const chunks = await gathered(await run.client.chat.completions.create({ ...body, ...options }));
    assert.deepEqual(chunks.at(-1)!.choices, []);
    assert.equal(chunks.at(-1)!.usage!.completion_tokens, whole.usage!.completion_tokens);
    assert.equal(chunks.at(-1)!.usage!.prompt_tokens, whole.usage!.prompt_tokens);
    assert.ok(chunks.slice(0, -1).every(({ usage }) => usage === null));
  });

  test("n draws different answers by one seed, the same ones again, streamed too", async () => {
    const sampling = { temperature: 1, seed: 7, n: 3, max_tokens: 60 };
    const body = { model: MODEL, messages: ask("Tell me about the Blue Lantern fair."), ...sampling };
    const texts = async () => {
      const { choices } = await run.client.chat.completions.create(body);
      return choices.map(({ message }) =>
        JSON.stringify([message.content, (message as Thinking).reasoning_content]),
      );
    };
    const first = await texts();
    assert.equal(new Set(first).size, 3);
    assert.deepEqual(await texts(), first);
    const chunks = await gathered(await run.client.chat.completions.create({ ...body, stream: true }));
    const streamed = [0, 1, 2].map((index) => merged(chunks, index));
    const told = streamed.map(({ content, reasoning_content: r }) =>
      JSON.stringify([content, r || undefined]),
    );
    assert.deepEqual(told, first);
  });

  test("a seed may be the largest whole number, with several choices", async () => {
    const seed = Number.MAX_SAFE_INTEGER;
    const body = { model: MODEL, messages: ask("Hello"), seed, n: 2, max_tokens: 4 };
    assert.equal((await run.client.chat.completions.create(body)).choices.length, 2);
  });

  test("stop ends an answer before its text, also across tokens, and is found in the content alone", async () => {
    const { content } = await alone(QUESTIONS[0]!);
    assert.equal(content, "17 + 25 = 42.");
    for (const [stop, wanted] of [
      ["= 42", "17 + 25 "],
      [["5 = 4", "zebra"], "17 + 2"],
      ["zebra", content],
      [".", "17 + 25 = 42"],
    ] as const) {
      const body = {
        model: MODEL,
        messages: ask(QUESTIONS[0]!),
        temperature: 0,
        stop: stop as string | string[],
      };
      const { choices } = await run.client.chat.completions.create(body);
      assert.equal(choices[0]!.message.content, wanted);
      assert.equal(choices[0]!.finish_reason, "stop");
      const chunks = await gathered(await run.client.chat.completions.create({ ...body, stream: true }));
      assert.equal(merged(chunks).content, wanted);
    }
  });

  test("max_tokens and max_completion_tokens end an answer with the reason length", async () => {
    for (const most of [
      { max_tokens: 1 },
      { max_completion_tokens: 5 },
      { max_tokens: 5, max_completion_tokens: 5 },
    ]) {
      const body = { model: MODEL, messages: ask(QUESTIONS[0]!), temperature: 0, ...most };
      const { choices, usage } = await run.client.chat.completions.create(body);
      assert.equal(choices[0]!.finish_reason, "length");
      assert.equal(usage!.completion_tokens, Object.values(most)[0]);
    }
  });

  test("reasoning_format none leaves the trace in the content, deepseek takes it out", async () => {
    const { content, reasoning } = await alone(QUESTIONS[0]!);
    const body = { model: MODEL, messages: ask(QUESTIONS[0]!), temperature: 0, reasoning_format: "none" };
    const { choices } = await run.client.chat.completions.create(body);
    const message = choices[0]!.message as Thinking;
    assert.equal(message.content, `<think>\n${reasoning}</think>\n\n${content}`);
    assert.ok(!("reasoning_content" in message));
  });

  test("a conversation goes on, with system messages and content in parts", async () => {
    const parts = [
      { type: "text" as const, text: "What is " },
      { type: "text" as const, text: "17 + 25?" },
    ];
    const body = {
      ...{ model: MODEL, temperature: 0, max_tokens: 200 },
      messages: [{ role: "user" as const, content: parts }],
    };
    const first = (await run.client.chat.completions.create(body)).choices[0]!.message;
    assert.equal(first.content, (await alone(QUESTIONS[0]!)).content);
    // The client's own message goes back as it came.
    const messages = [
      { role: "system" as const, content: "Be short." },
      ...body.messages,
      first,
      ...ask("What is 12 + 60 - 33?"),
    ];
    const { usage } = await run.client.chat.completions.create({ ...body, messages });
    const text = await own.text();
    const rendered = await text.render([
      { role: "system", content: "Be short." },
      { role: "user", content: "What is 17 + 25?" },
      { role: "assistant", content: first.content },
      { role: "user", content: "What is 12 + 60 - 33?" },
    ]);
    assert.equal(usage!.prompt_tokens, text.tokenizer.encode(rendered).length);
  });
});

describe("logprobs", () => {
  test("a chat's are those of the content's tokens, by the model's own account", async () => {
    const body = {
      model: MODEL,
      messages: ask(QUESTIONS[0]!),
      temperature: 0,
      logprobs: true,
      top_logprobs: 3,
    };
    const { choices } = await run.client.chat.completions.create(body);
    const { message, logprobs } = choices[0]!;
    const told = logprobs!.content!;
    assert.equal(told.map(({ token }) => token).join(""), message.content);
    assert.equal(Buffer.from(told.flatMap(({ bytes }) => bytes!)).toString(), message.content);
    const text = await own.text();
    const { reasoning_content: reasoning } = message as Thinking;
    const context = text.tokenizer.encode(
      `${await text.render(body.messages)}<think>\n${reasoning}</think>\n\n`,
    );
    const ids = text.tokenizer.encode(message.content!);
    const wanted = await likelihoodsBehind(own.engine, context, {
      continuations: ids.map((_, i) => ids.slice(0, i + 1)),
    });
    let before = 0;
    for (const [i, { logprob, top_logprobs: top }] of told.entries()) {
      assert.ok(Math.abs(logprob - (wanted[i]! - before)) < 1e-3, `${i}: ${logprob}, ${wanted[i]! - before}`);
      before = wanted[i]!;
      assert.equal(top.length, 3);
      assert.equal(top[0]!.logprob, logprob, "greedy: the token is the likeliest");
      assert.ok(top[0]!.logprob >= top[1]!.logprob && top[1]!.logprob >= top[2]!.logprob);
    }
    const chunks = await gathered(await run.client.chat.completions.create({ ...body, stream: true }));
    const streamed = chunks.flatMap(({ choices }) => choices[0]?.logprobs?.content ?? []);
    assert.deepEqual(
      streamed.map(({ token, logprob }) => [token, logprob]),
      told.map(({ token, logprob }) => [token, logprob]),
    );
  });

  test("reasoning_format none tells those of the trace too", async () => {
    const body = {
      model: MODEL,
      messages: ask(QUESTIONS[0]!),
      temperature: 0,
      logprobs: true,
      reasoning_format: "none",
    };
    const { choices } = await run.client.chat.completions.create(body);
    const tokens = choices[0]!.logprobs!.content!.map(({ token }) => token);
    assert.equal(tokens.join(""), choices[0]!.message.content);
  });
});

describe("completions", () => {
  test("create() goes on behind texts and ids, streamed as whole", async () => {
    const text = await own.text();
    const prompt = "What is 17 + 25? 17 + 25 =";
    const ids = text.promptOf(prompt);
    const wanted: number[] = [];
    for await (const id of own.generateIds(ids, { maxTokens: 4 })) wanted.push(id);
    const body = { model: MODEL, temperature: 0, max_tokens: 4 };
    const { choices } = await run.client.completions.create({ ...body, prompt: [prompt, prompt] });
    assert.deepEqual(
      choices.map(({ text: own }) => own),
      [text.tokenizer.decode(wanted), text.tokenizer.decode(wanted)],
    );
    const byIds = await run.client.completions.create({ ...body, prompt: ids });
    assert.equal(byIds.choices[0]!.text, choices[0]!.text);
    const chunks = await gathered(await run.client.completions.create({ ...body, prompt, stream: true }));
    assert.equal(chunks.map(({ choices: [c] }) => c!.text).join(""), choices[0]!.text);
    assert.equal(chunks.at(-1)!.choices[0]!.finish_reason, "length");
  });

  test("echo puts the prompt first, in each choice of each prompt", async () => {
    const prompts = ["17 + 25 =", "é ü 😀"];
    const body = { model: MODEL, prompt: prompts, echo: true, max_tokens: 3, temperature: 0, n: 2 };
    const { choices, usage } = await run.client.completions.create(body);
    assert.deepEqual(
      choices.map(({ index }) => index),
      [0, 1, 2, 3],
    );
    for (const { index, text } of choices) assert.ok(text.startsWith(prompts[index >> 1]!), text);
    const text = await own.text();
    const lengths = prompts.map((prompt) => text.promptOf(prompt).length);
    assert.equal(usage!.prompt_tokens, lengths[0]! + lengths[1]!, "a prompt counts once");
    const chunks = await gathered(await run.client.completions.create({ ...body, stream: true }));
    for (const { index, text: whole } of choices) {
      const own = chunks.flatMap(({ choices }) => choices).filter((choice) => choice.index === index);
      assert.equal(own.map(({ text }) => text).join(""), whole);
    }
  });
});
