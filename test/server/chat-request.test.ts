/** Bodies of chats: what is read, what templates get of it, and what is refused. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import { ApiError } from "../../src/server/api-error.ts";
import { maxTokensOf, messagesOf, readChatRequest } from "../../src/server/chat-request.ts";
import {
  choicesOf,
  completionTokensOf,
  promptsOf,
  readCompletionRequest,
} from "../../src/server/completion-request.ts";
import { openApi } from "../../src/server/openapi.ts";

const HELLO = { model: "m", messages: [{ role: "user", content: "Hi" }] };
const CALL = { id: "c1", type: "function", function: { name: "f", arguments: '{"a":1}' } };

const messages = (...all: object[]) => messagesOf(readChatRequest({ model: "m", messages: all }));

function refused(action: () => unknown, param: string, pattern: RegExp = /./): void {
  assert.throws(action, (error) => {
    assert.ok(error instanceof ApiError, String(error));
    assert.deepEqual([error.status, error.details.param], [400, param]);
    assert.match(error.message, pattern);
    return true;
  });
}

describe("messagesOf()", () => {
  test("joins parts, calls a developer by the old name, keeps names", () => {
    const parts = [
      { type: "text", text: "a" },
      { type: "text", text: "" },
      { type: "text", text: "b" },
    ];
    assert.deepEqual(
      messages(
        { role: "developer", content: "Be short." },
        { role: "system", content: parts, name: "s" },
        { role: "user", content: [] },
        { role: "tool", content: parts, tool_call_id: "c1" },
      ),
      [
        { role: "system", content: "Be short." },
        { role: "system", content: "ab", name: "s" },
        { role: "user", content: "" },
        { role: "tool", content: "ab", tool_call_id: "c1" },
      ],
    );
  });

  test("an assistant's content is null beside calls, a text without", () => {
    const [none, empty, both, neither] = messages(
      { role: "assistant", content: null, tool_calls: [CALL] },
      { role: "assistant", content: "", tool_calls: [{ ...CALL, index: 0 }] },
      { role: "assistant", content: "a", tool_calls: [CALL] },
      { role: "assistant", content: null, tool_calls: [] },
    );
    assert.deepEqual(none, { role: "assistant", content: null, tool_calls: [CALL] });
    assert.deepEqual(empty, none);
    assert.equal(both!.content, "a");
    assert.deepEqual(neither, { role: "assistant", content: "" });
  });

  test("reasoning goes along under either name, and a refusal is text", () => {
    const [first, second, third] = messages(
      { role: "assistant", content: "a", reasoning_content: "r" },
      { role: "assistant", content: "a", reasoning: "r" },
      {
        role: "assistant",
        content: [{ type: "refusal", refusal: "no" }],
        refusal: null,
        annotations: [],
        audio: null,
      },
    );
    assert.equal(first!.reasoning_content, "r");
    assert.deepEqual(second, first);
    assert.equal(third!.content, "no");
  });

  test("a part without its text is refused at its place", () => {
    const part = { type: "text" };
    refused(
      () => messages({ role: "user", content: [{ type: "text", text: "" }, part] }),
      "messages.0.content.1",
    );
  });
});

describe("readChatRequest()", () => {
  const SENT: object[] = [
    { stream: true, stream_options: { include_usage: true, include_obfuscation: false } },
    { metadata: { a: "b" }, store: false, service_tier: "auto", user: "u", prompt_cache_key: "k" },
    { tools: [], tool_choice: "auto", parallel_tool_calls: true, response_format: { type: "text" } },
    { temperature: null, stop: null, seed: null, logprobs: null, tools: null, response_format: null },
    { seed: -1, stop: ["a"], logit_bias: { "5": -100 }, logprobs: true, top_logprobs: 20 },
    { reasoning_effort: "high", reasoning_format: "none", chat_template_kwargs: { thinking: true } },
  ];
  for (const more of SENT)
    test(`takes ${JSON.stringify(more)}`, () => {
      assert.deepEqual(readChatRequest({ ...HELLO, ...more }), { ...HELLO, ...more });
    });

  const REFUSED: [more: object, param: string][] = [
    [{ model: "" }, "model"],
    [{ model: undefined }, "model"],
    [{ messages: "Hi" }, "messages"],
    [{ messages: [{ role: "user" }] }, "messages.0.content"],
    [{ messages: [{ role: "user", content: "a", colour: 1 }] }, "messages.0.colour"],
    [{ messages: [{ role: "tool", content: "a" }] }, "messages.0.tool_call_id"],
    [{ top_logprobs: 1 }, "top_logprobs"],
    [{ temperature: Number.POSITIVE_INFINITY }, "temperature"],
    [{ stream_options: { include_usage: true, x: 1 } }, "stream_options.x"],
    [{ tools: Array(129).fill({ type: "function", function: { name: "f" } }) }, "tools"],
    [{ tool_choice: { type: "function" } }, "tool_choice"],
    [{ response_format: { type: "yaml" } }, "response_format.type"],
    [{ response_format: { type: "json_schema" } }, "response_format.json_schema"],
    [{ stop: ["a".repeat(501)] }, "stop.0"],
    [{ seed: 2 ** 53 }, "seed"],
  ];
  for (const [more, param] of REFUSED)
    test(`refuses ${JSON.stringify(more).slice(0, 70)} at "${param}"`, () => {
      refused(() => readChatRequest({ ...HELLO, ...more }), param);
    });

  test("names the key that was meant", () => {
    refused(() => readChatRequest({ ...HELLO, temprature: 1 }), "temprature", /did you mean temperature/);
    refused(() => readChatRequest({ ...HELLO, zzz: 1 }), "zzz", /zzz$/);
  });

  test("what is no object is refused without a key", () => {
    for (const body of [null, 7, "a", [], undefined])
      assert.throws(
        () => readChatRequest(body),
        (error) => error instanceof ApiError && error.status === 400 && error.details.param === undefined,
      );
  });
});

test("maxTokensOf() takes either limit, and both when they are one", () => {
  const of = (more: object) => maxTokensOf(readChatRequest({ ...HELLO, ...more }));
  assert.deepEqual(
    [{}, { max_tokens: 3 }, { max_completion_tokens: 4 }, { max_tokens: 5, max_completion_tokens: 5 }].map(
      of,
    ),
    [...[undefined, 3, 4, 5]],
  );
  refused(() => of({ max_tokens: 3, max_completion_tokens: 4 }), "max_tokens");
  refused(() => of({ max_tokens: 0 }), "max_tokens");
});

test("completions: prompts, choices and limits", () => {
  const read = (more: object) => readCompletionRequest({ model: "m", prompt: "a", ...more });
  assert.deepEqual(promptsOf(read({})), ["a"]);
  assert.deepEqual(promptsOf(read({ prompt: [1, 2] })), [[1, 2]]);
  assert.deepEqual(promptsOf(read({ prompt: ["a", "b"] })), ["a", "b"]);
  assert.deepEqual(promptsOf(read({ prompt: [[1], [2, 3]] })), [[1], [2, 3]]);
  assert.deepEqual(
    [choicesOf(read({})), choicesOf(read({ n: 3 })), choicesOf(read({ n: 2, best_of: 2 }))],
    [1, 3, 2],
  );
  assert.deepEqual([completionTokensOf(read({})), completionTokensOf(read({}), 8)], [16, 8]);
  assert.equal(completionTokensOf(read({ max_tokens: 0, echo: true })), 0);
  refused(() => completionTokensOf(read({ max_tokens: 0 })), "max_tokens");
  for (const prompt of [[], [[]], [1, "a"], [["a"]], [-1], [1.5], {}, null])
    assert.throws(
      () => read({ prompt }),
      (error) =>
        error instanceof ApiError && error.status === 400 && /^prompt/.test(error.details.param ?? ""),
    );
});

test("/openapi.json describes the bodies that are read, and those that are not", () => {
  const described = openApi() as {
    paths: Record<
      string,
      { post?: { requestBody: { content: { "application/json": { schema: object } } } } }
    >;
  };
  const { schema } = described.paths["/v1/chat/completions"]!.post!.requestBody.content["application/json"];
  const isValid = new Ajv2020({ strict: false }).compile(schema);
  assert.ok(isValid({ ...HELLO, temperature: 1, tools: null }), JSON.stringify(isValid.errors));
  assert.ok(!isValid({ ...HELLO, temperature: -1 }));
  assert.ok(!isValid({ ...HELLO, colour: 1 }));
  assert.ok(!isValid({ messages: [] }));
  assert.deepEqual(
    Object.keys(described.paths).filter((path) => path.startsWith("/v1")),
    ["/v1/models", "/v1/models/{id}", "/v1/chat/completions", "/v1/completions"],
  );
});
