/** What goes wrong, as the official client tells it: classes, statuses, codes and keys. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import OpenAI from "openai";
import { gathered, metric, type RunningServer, startServed, until } from "../support/served.ts";

const MODEL = "mini-r1";
const HELLO = { model: MODEL, messages: [{ role: "user" as const, content: "Hello" }], max_tokens: 4 };
/** Never ends by itself. */
const ENDLESS = { model: MODEL, prompt: "a", max_tokens: 1000, logit_bias: { 1: -100 } };

let run: RunningServer;
before(async () => {
  run = await startServed({ places: ["models/mini-r1"], access: { apiKeys: ["right"] }, apiKey: "right" });
});
after(() => run.close());

type Told = { status?: number; code?: string | null; param?: string | null; type?: string; message?: RegExp };

async function fails(action: () => Promise<unknown>, kind: unknown, { message, ...wanted }: Told) {
  await assert.rejects(action, (error: InstanceType<typeof OpenAI.APIError>) => {
    assert.ok(error instanceof (kind as typeof OpenAI.APIError), String(error));
    for (const [key, value] of Object.entries(wanted))
      assert.equal(error[key as "status"], value, `${key} of ${error.message}`);
    if (message) assert.match(error.message, message);
    return true;
  });
}

const chat = (more: object) => () => run.client.chat.completions.create({ ...HELLO, ...more } as never);
const complete = (more: object) => () =>
  run.client.completions.create({ model: MODEL, prompt: "a", max_tokens: 2, ...more } as never);

describe("errors", () => {
  test("a model that is not there", async () => {
    const wanted = { status: 404, code: "model_not_found", param: "model", type: "invalid_request_error" };
    await fails(chat({ model: "mini-r2" }), OpenAI.NotFoundError, wanted);
    await fails(chat({ model: "mini-r2", stream: true }), OpenAI.NotFoundError, wanted);
    await fails(() => run.client.models.retrieve("mini-r2"), OpenAI.NotFoundError, wanted);
  });

  test("a wrong key, and none", async () => {
    const wanted = { status: 401, code: "invalid_api_key", type: "authentication_error" };
    for (const apiKey of ["wrong", "righ", "right2", "RIGHT"]) {
      const client = new OpenAI({ baseURL: `${run.url}/v1`, apiKey, maxRetries: 0 });
      await fails(() => client.models.list(), OpenAI.AuthenticationError, wanted);
      await fails(() => client.chat.completions.create(HELLO), OpenAI.AuthenticationError, wanted);
    }
  });

  const BAD: [name: string, more: object, param: string, code: string][] = [
    ["a key that is not known", { temprature: 1 }, "temprature", "unknown_parameter"],
    ["a key that nothing follows", { audio: { voice: "x" } }, "audio", "unknown_parameter"],
    ["functions, which tools have replaced", { functions: [] }, "functions", "unknown_parameter"],
    ["a number out of range", { temperature: -1 }, "temperature", "invalid_value"],
    ["a number that is a text", { top_p: "1" }, "top_p", "invalid_value"],
    ["half a choice", { n: 1.5 }, "n", "invalid_value"],
    ["too many choices", { n: 1000 }, "n", "invalid_value"],
    ["no messages", { messages: [] }, "messages", "invalid_value"],
    [
      "a role that is none",
      { messages: [{ role: "bird", content: "" }] },
      "messages.0.role",
      "invalid_value",
    ],
    ["too many messages", { messages: Array(3000).fill(HELLO.messages[0]) }, "messages", "invalid_value"],
    ["too many stops", { stop: Array(17).fill("a") }, "stop", "invalid_value"],
    ["a bias on what is no id", { logit_bias: { a: 1 } }, "logit_bias.a", "invalid_value"],
    ["storing", { store: true }, "store", "invalid_value"],
  ];
  for (const [name, more, param, code] of BAD)
    test(`${name}: 400 at "${param}"`, async () => {
      await fails(chat(more), OpenAI.BadRequestError, {
        status: 400,
        param,
        code,
        type: "invalid_request_error",
      });
      await fails(chat({ ...more, stream: true }), OpenAI.BadRequestError, { status: 400, param, code });
    });

  const ODD: [name: string, more: object, param: string, message: RegExp][] = [
    ["an unknown key with a near name", { max_token: 1 }, "max_token", /did you mean max_tokens/],
    ["top_p 0", { top_p: 0 }, "top_p", /above 0/],
    ["two limits", { max_tokens: 4, max_completion_tokens: 5 }, "max_tokens", /one of them/],
    ["an answer of nothing", { max_tokens: 0 }, "max_tokens", /1 or more/],
    ["top_logprobs without logprobs", { top_logprobs: 2 }, "top_logprobs", /logprobs: true/],
    ["a bias on an id that is not there", { logit_bias: { 640: 1 } }, "logit_bias", /below 640/],
    [
      "thinking that the template has no switch for",
      { reasoning_effort: "none" },
      "reasoning_effort",
      /switch/,
    ],
    [
      "a variable that templates have",
      { chat_template_kwargs: { messages: 1 } },
      "chat_template_kwargs",
      /messages/,
    ],
    [
      "a part without its text",
      { messages: [{ role: "user", content: [{ type: "text" }] }] },
      "messages.0.content.0",
      /no text/,
    ],
  ];
  for (const [name, more, param, message] of ODD)
    test(`${name}: 400 at "${param}"`, () =>
      fails(chat(more), OpenAI.BadRequestError, { status: 400, param, message }));

  test("messages that the template cannot render are the request's fault", () => {
    const call = { id: "a", type: "function", function: { name: "f", arguments: "{}" } };
    const messages = [...HELLO.messages, { role: "assistant", content: null, tool_calls: [call] }];
    return fails(chat({ messages }), OpenAI.BadRequestError, { status: 400, param: "messages" });
  });

  test("a prompt that is too long is told by its status, streamed too", async () => {
    const messages = [{ role: "user", content: "x ".repeat(2000) }];
    const wanted = { status: 400, code: "context_length_exceeded", message: /wanted at most the 1024/ };
    await fails(chat({ messages }), OpenAI.BadRequestError, { ...wanted, param: "messages" });
    await fails(chat({ messages, stream: true }), OpenAI.BadRequestError, { ...wanted, param: "messages" });
    const prompt = ["a", "x ".repeat(2000)];
    await fails(complete({ prompt }), OpenAI.BadRequestError, { ...wanted, param: "prompt" });
    await fails(complete({ prompt, stream: true }), OpenAI.BadRequestError, { ...wanted, param: "prompt" });
  });

  const COMPLETIONS: [name: string, more: object, param: string][] = [
    ["an id without a token", { prompt: [5, 639_000] }, "prompt"],
    ["best_of beyond n", { best_of: 3 }, "best_of"],
    ["a suffix", { suffix: "x" }, "suffix"],
    ["max_tokens 0 without echo", { max_tokens: 0 }, "max_tokens"],
    ["too many logprobs", { logprobs: 21 }, "logprobs"],
    ["messages", { messages: [] }, "messages"],
    ["no prompt", { prompt: undefined }, "prompt"],
    ["too many prompts", { prompt: Array(300).fill("a") }, "prompt"],
  ];
  for (const [name, more, param] of COMPLETIONS)
    test(`completions with ${name}: 400 at "${param}"`, () =>
      fails(complete(more), OpenAI.BadRequestError, { status: 400, param }));

  test("embeddings are not offered, and it is said why", () =>
    fails(() => run.client.embeddings.create({ model: MODEL, input: "a" }), OpenAI.APIError, {
      status: 501,
      code: "not_implemented",
      message: /not offered/,
    }));

  test("a path that is none, and a method", async () => {
    for (const [method, path] of [
      ["GET", "/v1/nothing"],
      ["GET", "/v1/chat/completions"],
      ["POST", "/"],
      ["PUT", "/health"],
    ]) {
      const response = await fetch(run.url + path, {
        method: method!,
        headers: { authorization: "Bearer right" },
      });
      assert.equal(response.status, 404);
      const { error } = (await response.json()) as { error: { code: string; message: string } };
      assert.equal(error.code, "not_found");
      assert.equal(error.message, `There is no ${method} ${path}`);
    }
  });
});

describe("aborts", () => {
  const running = () => metricOf('chimera_answers_running{model="mini-r1"}');
  const metricOf = async (line: string) => {
    const text = await (
      await fetch(`${run.url}/metrics`, { headers: { authorization: "Bearer right" } })
    ).text();
    return Number(
      text
        .split("\n")
        .find((other) => other.startsWith(`${line} `))
        ?.slice(line.length + 1),
    );
  };

  test("of a stream frees its place", async () => {
    const stream = await run.client.completions.create({ ...ENDLESS, stream: true });
    let pieces = 0;
    for await (const _ of stream) if (++pieces === 5) break; // ends the connection
    await until("nothing runs", async () => (await running()) === 0);
    assert.equal(run.serving.models.get(MODEL).numRequests, 0);
  });

  test("of a request that is not streamed does so too", async () => {
    const controller = new AbortController();
    const asked = run.client.completions.create({ ...ENDLESS, n: 4 }, { signal: controller.signal });
    await until("it runs", async () => (await running()) === 4);
    controller.abort();
    await assert.rejects(asked, OpenAI.APIUserAbortError);
    await until("nothing runs", async () => (await running()) === 0);
    await until("it has left", () => run.serving.models.get(MODEL).numRequests === 0);
    assert.equal(run.log.filter((line) => line.includes('"failed"')).length, 0, run.log.at(-1));
  });

  test("who stays is answered as before", async () => {
    const asked = { ...ENDLESS, max_tokens: 60, temperature: 0 };
    const alone = await run.client.completions.create(asked);
    const other = await run.client.completions.create({ ...ENDLESS, stream: true, n: 4 });
    const [beside] = await Promise.all([
      run.client.completions.create(asked),
      (async () => {
        for await (const _ of other) break;
      })(),
    ]);
    assert.equal(beside.choices[0]!.text, alone.choices[0]!.text);
  });
});

test("unicode goes in and out whole, whatever it is", async () => {
  for (const content of [
    "\ud83d",
    "\u0000\u0001",
    "﻿x",
    "e\u0301 é",
    "👩‍👩‍👧‍👦",
    "\u202e<｜end▁of▁sentence｜>",
    "<think>",
    "",
  ]) {
    const body = { ...HELLO, messages: [{ role: "user" as const, content }], temperature: 0, max_tokens: 12 };
    const whole = await run.client.chat.completions.create(body);
    const chunks = await gathered(await run.client.chat.completions.create({ ...body, stream: true }));
    const text = chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("");
    assert.equal(text, whole.choices[0]!.message.content, JSON.stringify(content));
  }
  assert.ok(Number.isNaN(await metric(run.url, "chimera_requests_total")), "the key guards it");
});
