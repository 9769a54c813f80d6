/**
 * lm-evaluation-harness against the server: the requests that its local-completions and local-chat-completions send
 * (0.4.13), byte for byte in their keys, and what it makes of the answers.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { LanguageModel } from "../../src/library/language-model.ts";
import { likelihoodsBehind } from "../../src/runtime/likelihood.ts";
import type { TextModel } from "../../src/runtime/talk.ts";
import { gatherOutput } from "../../src/text/output-events.ts";
import { gathered, type RunningServer, startServed } from "../support/served.ts";

const MODEL = "mini-r1";
const SEED = 1234;

/** Contexts with continuations, as multiple choice puts them. */
const PAIRS: readonly [context: string, continuation: string][] = [
  ["What is 17 + 25? 17 + 25 =", " 42"],
  ["What is 17 + 25? 17 + 25 =", " 41."],
  ["The capital of Peru is", " Lima"],
  ["The capital of Peru is", " the city of Oslo, perhaps"],
  ["é ü", " 😀!"],
  [`${"17 + 25 = 42. ".repeat(60)}17 + 25 =`, " 42"],
];

interface Choice {
  index: number;
  text: string;
  logprobs: { tokens: string[]; token_logprobs: number[]; top_logprobs: Record<string, number>[] };
}

let run: RunningServer;
let text: TextModel;
let own: LanguageModel;
before(async () => {
  run = await startServed({ places: ["models/mini-r1"] });
  text = await run.serving.models.use(MODEL, { count: 1 }, async (loaded) => loaded.text);
  own = new LanguageModel(text.model);
});
after(() => run.close());

/** As the harness posts: keys are these and no others. */
async function post<T>(path: string, payload: object): Promise<T> {
  const headers = { authorization: "Bearer ", "content-type": "application/json" };
  const response = await fetch(run.url + path, { method: "POST", headers, body: JSON.stringify(payload) });
  const body = await response.text();
  assert.equal(response.status, 200, body);
  return JSON.parse(body) as T;
}

const scoring = (prompt: unknown) => ({
  ...{ model: MODEL, prompt, temperature: 0, max_tokens: 1, logprobs: 1, seed: SEED, echo: true },
});

/** LocalCompletionsAPI.parse_logprobs: what the harness reads out of an answer. */
function parseLogprobs(choices: readonly Choice[], ctxlens: readonly number[]) {
  return choices
    .toSorted((a, b) => a.index - b.index)
    .map(({ logprobs }, i) => {
      const values = logprobs.token_logprobs.slice(ctxlens[i], -1);
      const tops = logprobs.top_logprobs.slice(ctxlens[i], -1);
      const isGreedy = values.every((value, at) => value === Math.max(...Object.values(tops[at]!)));
      return { logprob: values.reduce((sum, value) => sum + value, 0), isGreedy };
    });
}

/** From the definition: one pass over the whole, and whether each token is the likeliest of its place. */
async function expected(context: readonly number[], continuation: readonly number[]) {
  const [logprob] = await likelihoodsBehind(own.engine, context, { continuations: [continuation] });
  const ids = [...context, ...continuation];
  const { logits, shape } = await own.forward(ids);
  const vocab = shape[2];
  const isGreedy = continuation.every((id, i) => {
    const at = context.length + i - 1;
    const row = logits.subarray(at * vocab, (at + 1) * vocab);
    return row.every((value) => value <= row[id]!);
  });
  return { logprob: logprob!, isGreedy };
}

function check(
  told: readonly { logprob: number; isGreedy: boolean }[],
  wanted: readonly { logprob: number; isGreedy: boolean }[],
): void {
  assert.equal(told.length, wanted.length);
  for (const [i, { logprob, isGreedy }] of told.entries()) {
    assert.ok(Math.abs(logprob - wanted[i]!.logprob) < 1e-3, `${i}: ${logprob}, ${wanted[i]!.logprob}`);
    assert.equal(isGreedy, wanted[i]!.isGreedy, `${i}`);
  }
}

describe("local-completions", () => {
  test("loglikelihood: several prompts of ids at once, echoed with one token more", async () => {
    const encoded = PAIRS.map(([context, continuation]) => {
      const whole = text.tokenizer.encode(context + continuation);
      const before = text.tokenizer.encode(context);
      return { context: before, continuation: whole.slice(before.length) };
    });
    const ctxlens = encoded.map(({ context }) => context.length);
    const prompts = encoded.map(({ context, continuation }) => [...context, ...continuation]);
    const { choices } = await post<{ choices: Choice[] }>("/v1/completions", scoring(prompts));
    for (const { index, logprobs } of choices) {
      assert.equal(logprobs.tokens.length, prompts[index]!.length + 1);
      assert.equal(logprobs.token_logprobs[0], null);
    }
    const wanted = [];
    for (const { context, continuation } of encoded) wanted.push(await expected(context, continuation));
    assert.ok(wanted.some(({ isGreedy }) => isGreedy) && wanted.some(({ isGreedy }) => !isGreedy));
    check(parseLogprobs(choices, ctxlens), wanted);
  });

  test("loglikelihood: texts (tokenized_requests=False), whose BOS is not told", async () => {
    for (const [context, continuation] of PAIRS) {
      const whole = text.tokenizer.encode(context + continuation);
      const ctxlen = text.tokenizer.encode(context).length;
      const { choices } = await post<{ choices: Choice[] }>(
        "/v1/completions",
        scoring(context + continuation),
      );
      assert.equal(choices[0]!.logprobs.tokens.length, whole.length + 1);
      const { bos } = text.tokenizer;
      const before = [...(bos === undefined ? [] : [bos]), ...whole.slice(0, ctxlen)];
      check(parseLogprobs(choices, [ctxlen]), [await expected(before, whole.slice(ctxlen))]);
    }
  });

  test("loglikelihood of a prompt that the end token follows: it is told as one", async () => {
    const ids = text.tokenizer.encode("<｜User｜>What is 17 + 25?<｜Assistant｜>");
    const answer: number[] = [];
    for await (const id of own.generateIds(ids, { stopIds: text.tokenizer.eos })) answer.push(id);
    assert.ok(text.tokenizer.eos.includes(answer.at(-1)!));
    const prompt = [...ids, ...answer.slice(0, -1)];
    const { choices } = await post<{ choices: Choice[] }>("/v1/completions", scoring([prompt]));
    assert.equal(choices[0]!.logprobs.tokens.length, prompt.length + 1);
    check(parseLogprobs(choices, [ids.length]), [
      { ...(await expected(ids, answer.slice(0, -1))), isGreedy: true },
    ]);
  });

  test("loglikelihood_rolling: windows of one context token, up to the context's length", async () => {
    const ids = text.tokenizer.encode("Let me work this out. 7 + 5 = 12. ".repeat(80)).slice(0, 1023);
    assert.equal(ids.length, 1023);
    const { choices } = await post<{ choices: Choice[] }>("/v1/completions", scoring([ids]));
    check(parseLogprobs(choices, [1]), [await expected(ids.slice(0, 1), ids.slice(1))]);
  });

  test("generate_until: ids, stop texts with the end token's own", async () => {
    const contexts = [
      "<｜User｜>What is 17 + 25?<｜Assistant｜>",
      "<｜User｜>Spell river backwards.<｜Assistant｜>",
    ];
    const prompts = contexts.map((context) => text.tokenizer.encode(context));
    const stop = ["Good", text.tokenizer.eosToken];
    const payload = { prompt: prompts, model: MODEL, max_tokens: 100, temperature: 0, stop, seed: SEED };
    const { choices } = await post<{ choices: Choice[] }>("/v1/completions", payload);
    const told = choices.toSorted((a, b) => a.index - b.index).map(({ text }) => text);
    for (const [i, ids] of prompts.entries()) {
      const wanted: number[] = [];
      for await (const id of own.generateIds(ids, { maxTokens: 100, stopIds: text.tokenizer.eos }))
        wanted.push(id);
      assert.equal(told[i], text.tokenizer.decode(wanted).split("Good")[0]);
    }
  });
});

describe("local-chat-completions", () => {
  for (const [version, more] of [
    ["0.4.13", {}],
    ["0.4.5, which says of messages that they are text", { type: "text" }],
  ] as const)
    test(`generate_until as ${version}`, async () => {
      const question = "What is 17 + 25?";
      const messages = [{ role: "user", content: question, ...more }];
      const payload = {
        ...{ messages, model: MODEL, max_tokens: 256, temperature: 0, stop: ["Q:", "</s>"], seed: SEED },
      };
      type Answer = { choices: { index: number; message: { content: string } }[] };
      const { choices } = await post<Answer>("/v1/chat/completions", payload);
      const { content } = gatherOutput(
        await gathered(own.generate(question, { temperature: 0, maxTokens: 256 })),
      );
      assert.equal(choices[0]!.message.content, content);
    });

  test("the harness finds that no tokenizer is served, and takes its own", async () => {
    assert.equal((await fetch(`${run.url}/tokenizer_info`)).status, 404);
  });
});
