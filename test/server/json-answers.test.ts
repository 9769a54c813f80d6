/** Answers that are held to JSON and to schemas, read back and checked by a validator. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import OpenAI from "openai";
import { gathered, type RunningServer, startServed } from "../support/served.ts";

const MODEL = "mini-r1";
const QUESTION = [{ role: "user" as const, content: "What is 17 + 25?" }];

const strict = (properties: object) => ({
  ...{ type: "object", properties, required: Object.keys(properties), additionalProperties: false },
});
const SCHEMAS: Record<string, Record<string, unknown>> = {
  "numbers and texts": strict({
    answer: { type: "integer", minimum: 0, maximum: 99 },
    why: { type: "string", maxLength: 12 },
  }),
  "a list": strict({
    steps: { type: "array", items: { type: "integer", minimum: 0, maximum: 9 }, minItems: 2, maxItems: 4 },
  }),
  "one of": strict({ kind: { enum: ["sum", "product", "größer 😀"] }, sure: { type: "boolean" } }),
  "a pattern": strict({ day: { type: "string", pattern: "^20[0-9]{2}-[01][0-9]$" } }),
  reference: {
    ...strict({ left: { $ref: "#/$defs/leaf" }, right: { $ref: "#/$defs/leaf" } }),
    $defs: { leaf: strict({ value: { type: ["integer", "null"], minimum: 0, maximum: 20 } }) },
  },
};

let run: RunningServer;
before(async () => {
  run = await startServed({ places: ["models/mini-r1", "models/mini-v3"] });
});
after(() => run.close());

const formatOf = (schema: Record<string, unknown>) => ({
  type: "json_schema" as const,
  json_schema: { name: "answer", schema, strict: true },
});

describe("response_format json_schema", () => {
  for (const [name, schema] of Object.entries(SCHEMAS)) {
    const isValid = new Ajv2020({ strict: false }).compile(schema);
    const body = { model: MODEL, messages: QUESTION, max_tokens: 700, response_format: formatOf(schema) };
    for (const sampling of [{ temperature: 0 }, { temperature: 1, seed: 3 }, { temperature: 5, seed: 4 }])
      test(`${name}, at temperature ${sampling.temperature}: what is whole is valid`, async () => {
        const { choices } = await run.client.chat.completions.create({ ...body, ...sampling, n: 2 });
        for (const { message, finish_reason: finish } of choices) {
          if (finish === "length" && sampling.temperature > 1) continue; // a trace that did not end
          assert.equal(finish, "stop", message.content!);
          assert.ok(isValid(JSON.parse(message.content!)), message.content!);
        }
      });
  }

  test("streamed as whole", async () => {
    const body = {
      model: MODEL,
      messages: QUESTION,
      temperature: 0,
      response_format: formatOf(SCHEMAS["one of"]!),
    };
    const { choices } = await run.client.chat.completions.create(body);
    const chunks = await gathered(await run.client.chat.completions.create({ ...body, stream: true }));
    const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
    assert.equal(text, choices[0]!.message.content);
  });

  test("with a stop text, penalties, biases and likelihoods", async () => {
    const body = {
      model: MODEL,
      messages: QUESTION,
      temperature: 0,
      response_format: formatOf(SCHEMAS["a list"]!),
    };
    const more = { presence_penalty: 1, frequency_penalty: 0.5, logit_bias: { "18": -100, "19": 100 } };
    const { choices } = await run.client.chat.completions.create({ ...body, ...more, logprobs: true });
    const { message, logprobs } = choices[0]!;
    assert.ok(Array.isArray(JSON.parse(message.content!).steps));
    assert.equal(logprobs!.content!.map(({ token }) => token).join(""), message.content);
    const cut = await run.client.chat.completions.create({ ...body, stop: "steps" });
    assert.match(cut.choices[0]!.message.content!, /^\s*\{\s*"$/);
  });

  const refused = (schema: unknown, pattern: RegExp) =>
    assert.rejects(
      run.client.chat.completions.create({
        ...{ model: MODEL, messages: QUESTION, stream: true },
        response_format: formatOf(schema as Record<string, unknown>),
      }),
      (error: InstanceType<typeof OpenAI.APIError>) => {
        assert.ok(error instanceof OpenAI.BadRequestError, String(error));
        assert.equal(error.code, "unsupported_schema");
        assert.equal(error.param, "response_format.json_schema.schema");
        assert.match(error.message, pattern);
        return true;
      },
    );

  test("a schema that a grammar cannot follow is refused, with what to write instead", async () => {
    await refused({ type: "object", not: { required: ["a"] } }, /not/);
    await refused({ type: "integer", multipleOf: 7 }, /multipleOf/);
    await refused({ $ref: "https://schemas.example/a.json" }, /./);
    await refused({ type: "object", properties: { a: { type: "date" } } }, /date/);
  });

  test("a schema that is very large is refused or followed, and others are answered meanwhile", async () => {
    const wide = strict(
      Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`p${i}`, { type: "integer" }])),
    );
    const asked = run.client.chat.completions
      .create({ model: MODEL, messages: QUESTION, max_tokens: 5, response_format: formatOf(wide) })
      .then(({ choices }) => choices.length)
      .catch((error: InstanceType<typeof OpenAI.APIError>) => error.status);
    assert.ok([1, 400].includes((await asked)!));
    const after = await run.client.chat.completions.create({
      model: MODEL,
      messages: QUESTION,
      max_tokens: 2,
    });
    assert.equal(after.choices.length, 1);
  });
});

describe("response_format json_object", () => {
  const format = { response_format: { type: "json_object" as const } };

  test("what comes begins an object, whole or cut", async () => {
    for (const model of ["mini-r1", "mini-v3"]) {
      const body = { model, messages: QUESTION, temperature: 0, max_tokens: 200, ...format };
      const { choices } = await run.client.chat.completions.create(body);
      const { message, finish_reason: finish } = choices[0]!;
      assert.match(message.content!, /^\s*\{/);
      const hasThought = (message as { reasoning_content?: string }).reasoning_content !== undefined;
      assert.equal(hasThought, model === "mini-r1", "each as it is used to");
      if (finish === "stop") assert.equal(typeof JSON.parse(message.content!), "object");
    }
  });

  test("holds no trace where traces stand in the content: asked for, or so by the server", async (t) => {
    const body = { model: MODEL, messages: QUESTION, temperature: 0, max_tokens: 100, ...format };
    const asked = await run.client.chat.completions.create({
      ...body,
      reasoning_format: "none",
    } as typeof body);
    assert.match(asked.choices[0]!.message.content!, /^\s*\{/);
    const other = await startServed({ places: ["models/mini-r1"], reasoningFormat: "none" });
    t.after(() => other.close());
    const { choices } = await other.client.chat.completions.create(body);
    assert.equal(choices[0]!.message.content, asked.choices[0]!.message.content);
  });
});
