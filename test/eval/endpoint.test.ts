/** A real model behind a server against the same model here: the texts are the same, however they are served. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openEndpoint } from "../../src/eval/endpoint.ts";
import type { Answer, AnswerRequest } from "../../src/eval/target.ts";
import { type LanguageModel, loadModel } from "../../src/library/language-model.ts";
import { newStats } from "../../src/runtime/generate.ts";
import { gatherOutput, type OutputEvent } from "../../src/text/output-events.ts";
import { type ServerOptions, startServer } from "../support/openai-server.ts";

let model: LanguageModel;
before(async () => {
  model = await loadModel("models/mini-r1", { threads: 1 });
});
after(() => model.dispose());

const QUESTION: AnswerRequest = {
  prompt: { kind: "chat", messages: [{ role: "user", content: "What is 17 + 25?" }] },
  ...{ maxTokens: 200, temperature: 0, topP: 1, seed: 0, stop: [] },
};

/** What the server answers, and what it was asked. */
async function ask(options: ServerOptions, request: AnswerRequest = QUESTION) {
  const server = await startServer({ model, ...options });
  const target = await openEndpoint({ url: server.url, name: "x", retries: 0 });
  try {
    return { answer: await target.answer(request), log: server.log };
  } finally {
    await target.close();
    await server.close();
  }
}

async function local(request: AnswerRequest) {
  const stats = newStats();
  const { prompt, ...wishes } = request;
  const isRaw = prompt.kind === "raw";
  const events: OutputEvent[] = [];
  for await (const event of model.generate(isRaw ? prompt.text : prompt.messages, {
    ...wishes,
    ...{ raw: isRaw, stats },
  }))
    events.push(event);
  const { reasoning, content, reason } = gatherOutput(events);
  return { reasoning, content, finish: reason, tokens: stats.tokens };
}

function said({ reasoning, content, finish, tokens }: Answer) {
  return { reasoning, content, finish, tokens };
}

const SERVED: ServerOptions[] = [
  { reasoning: "reasoning_content" },
  { reasoning: "reasoning" },
  { reasoning: "inline" },
  { reasoning: "reasoning_content", isWhole: true },
  { reasoning: "inline", isWhole: true },
  { reasoning: "inline", writeBytes: 1 },
];

for (const options of SERVED) {
  test(`answer() gives the texts and the tokens of the same model here, served as ${JSON.stringify(options)}`, async () => {
    const { answer } = await ask(options);
    assert.deepEqual(said(answer), await local(QUESTION));
    assert.match(answer.reasoning, /17/);
    assert.match(answer.content, /42/);
    assert.deepEqual(
      [answer.opensThinking, answer.closesThinking, answer.isEstimated, answer.model, answer.attempts],
      [true, true, false, "mini", 1],
    );
    const thinking = answer.thinkingTokens ?? 0;
    assert.ok(thinking > 5 && thinking < answer.tokens! - 1, `${thinking} of ${answer.tokens}`);
    assert.ok(answer.seconds > 0);
  });
}

test("answer() gives what the model here samples, with its temperature, top-p and seed", async () => {
  const contents = new Set<string>();
  for (const seed of [1, 2, 3]) {
    const request = { ...QUESTION, temperature: 1.5, topP: 0.9, seed };
    const { answer } = await ask({}, request);
    assert.deepEqual(said(answer), await local(request));
    contents.add(answer.reasoning + answer.content);
  }
  assert.ok(contents.size > 1, "the seed decides nothing");
});

test("answer() of a raw prompt is all content", async () => {
  const request: AnswerRequest = {
    ...QUESTION,
    prompt: { kind: "raw", text: "The capital of" },
    maxTokens: 12,
  };
  const { answer, log } = await ask({}, request);
  assert.deepEqual(said(answer), await local(request));
  assert.equal(log.at(-1)?.url, "/v1/completions");
  assert.equal(log.at(-1)?.body.prompt, "The capital of");
});

test("answer() ends before a stop text, and where its tokens end", async () => {
  const whole = await local(QUESTION);
  const request = { ...QUESTION, stop: [whole.content.slice(3, 6)] };
  const { answer } = await ask({ reasoning: "inline" }, request);
  assert.equal(answer.content, (await local(request)).content);
  assert.equal(answer.content, whole.content.slice(0, 3));

  for (const reasoning of ["inline", "reasoning_content"] as const) {
    const short = { ...QUESTION, maxTokens: 6 };
    const { answer } = await ask({ reasoning }, short);
    assert.deepEqual(said(answer), await local(short));
    const { opensThinking, closesThinking, finish, tokens, thinkingTokens } = answer;
    assert.deepEqual(
      [opensThinking, closesThinking, finish, tokens, thinkingTokens],
      [true, false, "length", 6, 6],
    );
  }
});

test("answer() sends what decides an answer, and no empty list of stop texts", async () => {
  const request = { ...QUESTION, maxTokens: 8, temperature: 0.7, topP: 0.9, seed: 5, stop: ["\n\n"] };
  const { log } = await ask({}, request);
  assert.deepEqual(log[1]!.body, {
    ...{ model: "mini", messages: [{ role: "user", content: "What is 17 + 25?" }] },
    ...{ max_tokens: 8, temperature: 0.7, top_p: 0.9, seed: 5, stop: ["\n\n"] },
    ...{ stream: true, stream_options: { include_usage: true } },
  });
  const { log: other } = await ask({}, { ...QUESTION, maxTokens: 8 });
  assert.equal("stop" in other[1]!.body, false);
});

test("answer() estimates thinkingTokens by characters where the server tells only the sum, and tells none without usage", async () => {
  const { answer: told } = await ask({ usage: "detailed" });
  const { answer } = await ask({ usage: "sum" });
  assert.deepEqual(said(answer), said(told));
  assert.equal(answer.isEstimated, true);
  assert.ok(Math.abs(answer.thinkingTokens! - told.thinkingTokens!) <= 0.2 * answer.tokens!);
  const { answer: silent } = await ask({ usage: "none" });
  assert.deepEqual([silent.tokens, silent.thinkingTokens, silent.isEstimated], [undefined, undefined, false]);
  assert.equal(silent.reasoning, told.reasoning);
});

test("likelihoods() are the model's own, also where a server must generate a token", async () => {
  const text = await model.text();
  const context = "The capital of France is";
  const continuations = [" Paris.", " Rome."];
  for (const least of [0, 1] as const) {
    const server = await startServer({ model, echo: least });
    const target = await openEndpoint({ url: server.url, name: "x", retries: 0 });
    const found = await target.likelihoods!({ context, continuations });
    const bodies = server.log.filter(({ url }) => url === "/v1/completions").map(({ body }) => body);
    // A server that has refused to generate nothing is not asked for that again.
    assert.deepEqual(
      bodies.map(({ max_tokens }) => max_tokens),
      least === 0 ? [0, 0] : [0, 1, 1],
    );
    for (const [i, continuation] of continuations.entries()) {
      const ids = text.promptOf(context + continuation);
      const from = text.promptOf(context).length; // no token of these reaches over the border
      assert.deepEqual(ids.slice(0, from), text.promptOf(context));
      const { logits, shape } = await model.forward(ids);
      let wanted = 0;
      for (let at = from; at < ids.length; at++) {
        const row = [...logits.subarray((at - 1) * shape[2], at * shape[2])];
        const sum = row.reduce((all, logit) => all + Math.exp(logit), 0);
        wanted += row[ids[at]!]! - Math.log(sum);
      }
      assert.equal(found[i]!.tokens, ids.length - from);
      assert.ok(Math.abs(found[i]!.logLikelihood - wanted) < 1e-4, `${found[i]!.logLikelihood}, ${wanted}`);
    }
    assert.ok(found[0]!.logLikelihood > found[1]!.logLikelihood);
    await target.close();
    await server.close();
  }
});

test("openEndpoint() limits its connections, and uses them again", async () => {
  const server = await startServer({ says: {} });
  const target = await openEndpoint({
    url: server.url,
    name: "x",
    model: "mini",
    concurrency: 2,
    retries: 0,
  });
  assert.equal(target.concurrency, 2);
  await Promise.all(Array.from({ length: 12 }, () => target.answer(QUESTION)));
  await target.answer(QUESTION);
  assert.equal(server.log.length, 13);
  assert.ok(server.connections() <= 2, `${server.connections()} connections`);
  await target.close();
  await server.close();
});
