/** Tool calls with the official client, in the formats of V3 and V3.1, there and back. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type OpenAI from "openai";
import type { TextModel } from "../../src/runtime/talk.ts";
import { type RunningServer, startServed, withTemplate } from "../support/served.ts";
import { V3, V31 } from "../text/templates.ts";

type Message = OpenAI.Chat.ChatCompletionMessageParam;
type Tool = OpenAI.Chat.ChatCompletionFunctionTool;

const parameters = {
  type: "object",
  properties: { city: { enum: ["Lima", "Oslo"] }, days: { type: "integer", minimum: 1, maximum: 9 } },
  required: ["city", "days"],
  additionalProperties: false,
};
const WEATHER: Tool = { type: "function", function: { name: "weather", parameters } };
const CLOCK: Tool = {
  type: "function",
  function: { name: "clock", parameters: { type: "object", properties: {}, additionalProperties: false } },
};
const TOOLS = [WEATHER, CLOCK];
const QUESTION: Message = { role: "user", content: "How is the weather in Lima?" };

let run: RunningServer;
const ends: (() => void)[] = [];
before(async () => {
  const removal = { after: (remove: () => void) => void ends.push(remove) };
  const [v3, v31] = [V3, V31].map((template) => withTemplate(removal, "models/mini-r1", template));
  run = await startServed({ places: [`v3=${v3}`, `v31=${v31}`, "plain=models/mini-r1"] });
});
after(async () => {
  await run?.close();
  for (const end of ends) end();
});

const textOf = (model: string): Promise<TextModel> =>
  run.serving.models.use(model, { count: 1 }, async ({ text }) => text);

/** Whether arguments are what WEATHER's schema says. */
function isWeather(text: string): boolean {
  const { city, days, ...rest } = JSON.parse(text);
  const isCity = city === "Lima" || city === "Oslo";
  return isCity && Number.isInteger(days) && days >= 1 && days <= 9 && Object.keys(rest).length === 0;
}

for (const model of ["v3", "v31"]) {
  describe(`tools in the format of ${model}`, () => {
    const body = { model, messages: [QUESTION], tools: TOOLS, temperature: 0, max_tokens: 400 };

    test("a named function is called, with arguments by its schema, whole and streamed", async () => {
      const wish = { ...body, tool_choice: { type: "function" as const, function: { name: "weather" } } };
      const { choices } = await run.client.chat.completions.create(wish);
      const { message, finish_reason: finish } = choices[0]!;
      assert.equal(finish, "tool_calls");
      assert.equal(message.content, null);
      assert.equal(message.tool_calls?.length, 1);
      const [call] = message.tool_calls as OpenAI.Chat.ChatCompletionMessageFunctionToolCall[];
      assert.equal(call!.function.name, "weather");
      assert.match(call!.id, /^call_\w{24}$/);
      assert.ok(isWeather(call!.function.arguments), call!.function.arguments);
      const stream = run.client.chat.completions.stream(wish);
      const last = (await stream.finalChatCompletion()).choices[0]!;
      assert.equal(last.finish_reason, "tool_calls");
      const streamed = last.message.tool_calls![0] as OpenAI.Chat.ChatCompletionMessageFunctionToolCall;
      assert.deepEqual(streamed.function.name, "weather");
      assert.equal(streamed.function.arguments, call!.function.arguments);
    });

    test("required makes a call of one of the functions, or of several", async () => {
      for (const seed of [1, 2, 3]) {
        const wish = { ...body, tool_choice: "required" as const, temperature: 1, seed, max_tokens: 900 };
        const { choices } = await run.client.chat.completions.create(wish);
        const calls = choices[0]!.message.tool_calls as OpenAI.Chat.ChatCompletionMessageFunctionToolCall[];
        // Sixteen calls at the most, spelled in many tokens: the last one may be cut, which is told.
        if (choices[0]!.finish_reason === "length") calls.pop();
        assert.ok(calls.length > 0);
        assert.equal(new Set(calls.map(({ id }) => id)).size, calls.length);
        for (const { function: called } of calls)
          if (called.name === "weather") assert.ok(isWeather(called.arguments), called.arguments);
          else assert.deepEqual([called.name, JSON.parse(called.arguments)], ["clock", {}]);
      }
    });

    test("parallel_tool_calls: false makes one call", async () => {
      for (const seed of [1, 2, 3]) {
        const wish = { ...body, tool_choice: "required" as const, temperature: 1, seed };
        const { choices } = await run.client.chat.completions.create({ ...wish, parallel_tool_calls: false });
        assert.equal(choices[0]!.message.tool_calls?.length, 1);
      }
    });

    test("a tool's answer goes into the prompt as the template has it", async () => {
      const wish = { ...body, tool_choice: { type: "function" as const, function: { name: "weather" } } };
      const { message } = (await run.client.chat.completions.create(wish)).choices[0]!;
      const [call] = message.tool_calls as OpenAI.Chat.ChatCompletionMessageFunctionToolCall[];
      const result: Message = { role: "tool", tool_call_id: call!.id, content: "sunny" };
      const messages: Message[] = [QUESTION, message, result];
      const second = await run.client.chat.completions.create({ ...body, messages, max_tokens: 20 });
      const text = await textOf(model);
      const rendered = await text.render(
        [
          { role: "user", content: QUESTION.content },
          { role: "assistant", content: null, tool_calls: message.tool_calls },
          { role: "tool", content: "sunny" },
        ],
        { tools: TOOLS },
      );
      assert.ok(rendered.includes(call!.function.arguments) && rendered.includes("sunny"), rendered);
      assert.equal(second.usage!.prompt_tokens, text.tokenizer.encode(rendered).length);
    });

    test("auto with a strict function answers freely as long as no call begins", async () => {
      const strict: Tool = { ...WEATHER, function: { ...WEATHER.function, strict: true } };
      const free = await run.client.chat.completions.create({
        ...body,
        tools: [strict],
        tool_choice: "auto",
      });
      const plain = await run.client.chat.completions.create({ ...body, tool_choice: "none" });
      assert.equal(free.choices[0]!.message.content, plain.choices[0]!.message.content);
      assert.equal(free.choices[0]!.message.tool_calls, undefined);
    });

    test("none takes the tools away", async () => {
      const { choices } = await run.client.chat.completions.create({ ...body, tool_choice: "none" });
      assert.equal(choices[0]!.message.tool_calls, undefined);
      assert.notEqual(choices[0]!.finish_reason, "tool_calls");
    });
  });
}

describe("requests with tools that cannot be met", () => {
  const body = { messages: [QUESTION], tools: TOOLS };
  const fails = async (more: object, param: string, pattern: RegExp) => {
    await assert.rejects(
      run.client.chat.completions.create({ model: "v3", ...body, ...more } as never),
      (error: InstanceType<typeof OpenAI.APIError>) => {
        assert.equal(error.status, 400);
        assert.equal(error.param, param);
        assert.match(error.message, pattern);
        return true;
      },
    );
  };

  test("a template that knows no tools", () => fails({ model: "plain" }, "tools", /knows no tools/));
  test("a choice without tools", () =>
    fails({ tools: undefined, tool_choice: "required" }, "tool_choice", /no "tools"/));
  test("a function that is not there", () =>
    fails({ tool_choice: { type: "function", function: { name: "tide" } } }, "tool_choice", /"tide"/));
  test("two functions of one name", () => fails({ tools: [CLOCK, CLOCK] }, "tools", /two functions/));
  test("JSON beside tools", () =>
    fails({ response_format: { type: "json_object" } }, "response_format", /wanted one of them/));
  test("a strict function whose schema cannot be followed", () => {
    const strict = { name: "f", strict: true, parameters: { type: "object", not: { type: "string" } } };
    return fails({ tools: [{ type: "function", function: strict }], tool_choice: "required" }, "tools", /./);
  });
  test("a name that no function may have", () =>
    fails({ tools: [{ type: "function", function: { name: "a b" } }] }, "tools.0.function.name", /letters/));
});
