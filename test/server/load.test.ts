/** More than there is room for: queues, time limits, memory, clients that go away or do not read. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { describe, type TestContext, test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import OpenAI from "openai";
import { EventStream } from "../../src/server/stream.ts";
import {
  gathered,
  metric,
  type RunningServer,
  type RunOptions,
  startServed,
  until,
} from "../support/served.ts";

const R1 = "mini-r1";
const V3 = "mini-v3";
/** Never ends by itself. */
const ENDLESS = { model: R1, prompt: "a", max_tokens: 1000, logit_bias: { 1: -100 } };
const SHORT = { model: R1, prompt: "a", max_tokens: 2 };

async function serve(t: TestContext, options: Partial<RunOptions> = {}): Promise<RunningServer> {
  const run = await startServed({ places: [`models/${R1}`], ...options });
  t.after(() => run.close());
  return run;
}

type Failure = InstanceType<typeof OpenAI.APIError>;

async function failureOf(asked: Promise<unknown>): Promise<Failure> {
  const failure = await asked.then(() => undefined).catch((error: Failure) => error);
  assert.ok(failure instanceof OpenAI.APIError, String(failure));
  return failure;
}

describe("the queue", () => {
  test("is bounded: who comes when it is full is told when to come again, streamed or not", async (t) => {
    const run = await serve(t, { models: { slots: 1, maxWaiting: 2 } });
    const controller = new AbortController();
    const asked = [0, 1, 2].map(() =>
      run.client.completions.create(ENDLESS, { signal: controller.signal }).catch(() => undefined),
    );
    await until("three are there", () => run.serving.models.get(R1).numRequests === 3);
    for (const stream of [false, true]) {
      const failure = await failureOf(run.client.completions.create({ ...SHORT, stream } as typeof SHORT));
      assert.ok(failure instanceof OpenAI.RateLimitError);
      assert.deepEqual([failure.status, failure.code], [429, "queue_full"]);
      const after = Number(failure.headers?.get("retry-after"));
      assert.ok(after >= 1 && after <= 60, `${after} s`);
    }
    const running = () => metric(run.url, `chimera_answers_running{model="${R1}"}`);
    await until("the model is loaded and one runs", async () => (await running()) === 1);
    assert.equal(await metric(run.url, `chimera_answers_waiting{model="${R1}"}`), 2);
    // Those that wait leave their place when they go, and the next one is answered.
    controller.abort();
    await Promise.all(asked);
    await until("all have left", () => run.serving.models.get(R1).numRequests === 0);
    assert.equal((await run.client.completions.create(SHORT)).choices.length, 1);
  });

  test("counts each choice of each prompt", async (t) => {
    const run = await serve(t, { models: { slots: 2, maxWaiting: 2 } });
    const stream = await run.client.completions.create({ ...ENDLESS, stream: true });
    const many = await failureOf(run.client.completions.create({ ...SHORT, prompt: ["a", "b"], n: 2 }));
    assert.equal(many.status, 429);
    assert.equal((await run.client.completions.create({ ...SHORT, n: 3 })).choices.length, 3);
    stream.controller.abort();
  });

  test("200 clients at once are answered, each as it is alone, and half of them may go", async (t) => {
    const run = await serve(t, { models: { slots: 8, maxWaiting: 400 } });
    const prompts = Array.from({ length: 200 }, (_, i) => `${i} + ${i} =`);
    const body = (prompt: string) => ({ model: R1, prompt, max_tokens: 4, temperature: 0 });
    const alone = new Map<string, string>();
    for (const prompt of prompts.filter((_, i) => i % 25 === 0))
      alone.set(prompt, (await run.client.completions.create(body(prompt))).choices[0]!.text);
    const answers = await Promise.all(
      prompts.map(async (prompt, i) => {
        if (i % 2 === 0) return (await run.client.completions.create(body(prompt))).choices[0]!.text;
        const signal = AbortSignal.timeout(1 + (i % 40));
        return run.client.completions.create(body(prompt), { signal }).then(
          ({ choices }) => choices[0]!.text,
          () => null,
        );
      }),
    );
    for (const [prompt, text] of alone) {
      const told = answers[prompts.indexOf(prompt)];
      if (told !== null) assert.equal(told, text, prompt);
    }
    await until("all have left", () => run.serving.models.get(R1).numRequests === 0);
    const loaded = run.serving.models.get(R1).loaded!;
    assert.deepEqual([loaded.batch.numRunning, loaded.batch.numWaiting], [0, 0]);
    const { pages } = loaded.text.model;
    assert.equal(pages.free + pages.kept, pages.total, "no page of the cache is lost");
    assert.deepEqual(
      run.log.filter((line) => line.includes('"level":"error"')),
      [],
    );
  });
});

describe("the time limit", () => {
  test("ends an answer with 504, a stream with an error", async (t) => {
    const run = await serve(t, { timeoutSeconds: 0.3 });
    await run.client.completions.create({ ...SHORT, max_tokens: 1 }).catch(() => undefined); // loads the model
    await until("it is loaded", () => run.serving.models.get(R1).loaded !== undefined);
    const failure = await failureOf(run.client.completions.create({ ...ENDLESS, n: 8 }));
    assert.deepEqual([failure.status, failure.code], [504, "timeout"]);
    const stream = await run.client.completions.create({ ...ENDLESS, n: 8, stream: true });
    let pieces = 0;
    const cut = await failureOf(
      (async () => {
        for await (const _ of stream) pieces++;
      })(),
    );
    assert.equal(cut.code, "timeout");
    assert.ok(pieces > 0);
    await until("nothing runs", () => run.serving.models.get(R1).loaded!.batch.numRunning === 0);
    const chat = {
      model: R1,
      messages: [{ role: "user" as const, content: "Hi" }],
      logit_bias: { 1: -100 },
      n: 8,
    };
    assert.equal((await failureOf(run.client.chat.completions.create(chat))).status, 504);
  });

  test("holds while the model is loaded", async (t) => {
    const run = await serve(t, { timeoutSeconds: 0.01 });
    const failure = await failureOf(run.client.completions.create(SHORT));
    assert.deepEqual([failure.status, failure.code], [504, "timeout"]);
    await until("it is loaded all the same", () => run.serving.models.get(R1).loaded !== undefined);
    assert.equal(run.serving.models.get(R1).numRequests, 0);
  });
});

describe("memory", () => {
  const places = [`models/${R1}`, `models/${V3}`];

  /** Bytes of one of them. */
  async function bytesOf(t: TestContext): Promise<number> {
    const run = await serve(t);
    return run.serving.models.use(R1, { count: 1 }, async ({ bytes }) => bytes);
  }

  test("an idle model makes room for the one that is asked for; a busy one does not", async (t) => {
    const bytes = await bytesOf(t);
    const run = await serve(t, { places, models: { memory: Math.floor(1.5 * bytes) } });
    await run.client.completions.create(SHORT);
    const states = () => run.serving.models.list().map(({ state }) => state);
    assert.deepEqual(states(), ["ready", "unloaded"]);
    await run.client.completions.create({ ...SHORT, model: V3 });
    assert.deepEqual(states(), ["unloaded", "ready"]);
    const stream = await run.client.completions.create({ ...ENDLESS, model: V3, stream: true });
    const failure = await failureOf(run.client.completions.create(SHORT));
    assert.deepEqual([failure.status, failure.code], [503, "not-enough-memory"]);
    assert.ok(Number(failure.headers?.get("retry-after")) > 0);
    assert.match(failure.message, /in use|taken/);
    assert.ok((await gathered(stream)).length > 100, "the busy one is not disturbed");
    await run.client.completions.create(SHORT);
    assert.deepEqual(states(), ["ready", "unloaded"]);
    assert.equal(await metric(run.url, `chimera_model_loaded{model="${R1}"}`), 1);
    assert.equal(await metric(run.url, `chimera_model_bytes{model="${R1}"}`), bytes);
  });

  test("a model that fits by itself nowhere is refused, and the others stay loaded", async (t) => {
    const run = await serve(t, { models: { memory: 1_000_000 } });
    const failure = await failureOf(run.client.completions.create(SHORT));
    assert.deepEqual([failure.status, failure.code], [503, "not-enough-memory"]);
    assert.equal(run.serving.models.get(R1).state, "unloaded");
  });

  test("a model is unloaded when nobody has asked for a while, and loaded again", async (t) => {
    const run = await serve(t, { models: { idleMs: 200 } });
    const first = await run.client.completions.create({ ...SHORT, temperature: 0 });
    await until("it is unloaded", () => run.serving.models.get(R1).state === "unloaded");
    const again = await run.client.completions.create({ ...SHORT, temperature: 0 });
    assert.equal(again.choices[0]!.text, first.choices[0]!.text);
    const stream = await run.client.completions.create({ ...ENDLESS, stream: true });
    assert.ok((await gathered(stream)).length > 100, "whoever is answered is not idle");
  });

  test("many who ask at once load a model once", async (t) => {
    const run = await serve(t, { places });
    const models = [R1, V3, R1, V3, R1, V3];
    await Promise.all(models.map((model) => run.client.completions.create({ ...SHORT, model })));
    assert.deepEqual(
      run.serving.models.list().map(({ state }) => state),
      ["ready", "ready"],
    );
  });
});

describe("what is left behind", () => {
  test("nothing of a request stays in memory when it is over", async (t) => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const run = await serve(t, { models: { slots: 8 } });
    const ask = async (count: number) => {
      for (let i = 0; i < count; i++)
        await Promise.all([
          run.client.completions.create(SHORT),
          run.client.completions.create({ ...SHORT, n: 2 }),
          run.client.completions.create({ ...SHORT, stream: true }).then(gathered),
          run.client.completions.create({ ...SHORT, stream: true, echo: true }).then(gathered),
        ]);
      await new Promise((resume) => setTimeout(resume, 100));
      collect();
      collect();
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      return (heapUsed + arrayBuffers) / 1e6;
    };
    await ask(30);
    const before = await ask(8);
    const after = await ask(60);
    assert.ok(after - before < 2.5, `${before} MB, then ${after} MB`);
  });

  test("a model that clients have just left can be unloaded for another at once", async (t) => {
    const places = [`models/${R1}`, `models/${V3}`];
    const bytes = await serve(t).then((run) =>
      run.serving.models.use(R1, { count: 1 }, async (own) => own.bytes),
    );
    const run = await serve(t, { places, models: { memory: Math.floor(1.5 * bytes), slots: 2 } });
    for (let round = 0; round < 4; round++) {
      const controller = new AbortController();
      const left = run.client.completions.create({ ...ENDLESS, n: 4 }, { signal: controller.signal });
      await until("it runs", () => (run.serving.models.get(R1).loaded?.batch.numRunning ?? 0) === 2);
      controller.abort();
      await left.catch(() => undefined);
      await until("it has left", () => run.serving.models.get(R1).numRequests === 0);
      assert.equal(run.serving.models.get(R1).loaded?.batch.numRunning, 0, "none of it is computed any more");
      assert.equal((await run.client.completions.create({ ...SHORT, model: V3 })).choices.length, 1);
    }
    assert.deepEqual(
      run.log.filter((line) => line.includes('"level":"error"')),
      [],
    );
  });
});

describe("clients that do not read", () => {
  test("keep nobody else from being answered, and their place is free at the end", async (t) => {
    const run = await serve(t, { models: { slots: 2 } });
    await run.client.completions.create(SHORT);
    const body = JSON.stringify({ ...ENDLESS, stream: true, n: 2 });
    const socket = connect(run.port, "127.0.0.1");
    t.after(() => socket.destroy());
    socket.pause();
    socket.write(
      `POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await until("it runs", () => run.serving.models.get(R1).numRequests === 2);
    assert.equal((await run.client.completions.create(SHORT)).choices.length, 1);
    await until("it is over", () => run.serving.models.get(R1).numRequests === 0);
  });

  test("EventStream gives them up, while the answer comes and behind its end", async () => {
    for (const isOver of [false, true]) {
      const stream = new EventStream({ unreadBytes: 100, stalledMs: 60 });
      for (let i = 0; i < 10; i++) stream.send("a".repeat(50));
      if (isOver) stream.end();
      await until("it is given up", () => stream.signal.aborted);
      await assert.rejects(stream.response.text(), /does not read/);
      stream.send("too late"); // nobody is there
      stream.end();
    }
  });

  test("EventStream gives nobody up who reads, however slowly, and says that it is there", async () => {
    const stream = new EventStream({ unreadBytes: 1000, stalledMs: 60, quietMs: 50 });
    const text = stream.response.text();
    await new Promise((resume) => setTimeout(resume, 300));
    stream.send("done");
    stream.end();
    assert.match(await text, /^(: still here\n\n)+data: done\n\n$/);
    assert.equal(stream.signal.aborted, false);
  });
});
