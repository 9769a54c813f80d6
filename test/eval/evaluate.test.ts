/** A run: the same records here and behind an endpoint, with any batch and number of threads, and after a stop. */
import assert from "node:assert/strict";
import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Interrupted, TaskError } from "../../src/base/errors.ts";
import { type EndpointOptions, openEndpoint } from "../../src/eval/endpoint.ts";
import { type EvaluateEvent, type EvaluateOptions, evaluate } from "../../src/eval/evaluate.ts";
import type { EvalRecord } from "../../src/eval/record.ts";
import { readRun } from "../../src/eval/run-folder.ts";
import { openEvalTarget } from "../../src/library/eval-target.ts";
import { type LanguageModel, loadModel } from "../../src/library/language-model.ts";
import type { Task } from "../../src/tasks/task.ts";
import { loadTasks } from "../../src/tasks/task-file.ts";
import { type OpenAiServer, type ServerOptions, startServer } from "../support/openai-server.ts";
import type { Served } from "../support/served-model.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const R1 = "models/mini-r1";
const GENERATION = { maxTokens: 160, temperature: 0, topP: 1, stop: [] };

/** What the tasks of the small world do not have: a second turn, a text to go on with, choices, a system message. */
const ODD: Task[] = [
  {
    ...{ name: "two-turns", file: "a.yaml", digest: "a", mode: "chat", system: "Be brief." },
    ...{ scoring: { kind: "numeric", tolerance: 0 }, generation: GENERATION },
    questions: [{ id: "1", turns: ["What is 17 + 25?", "What is 3 + 4?"], answers: ["7"] }],
  },
  {
    ...{ name: "raw", file: "b.yaml", digest: "b", mode: "raw", scoring: { kind: "none" } },
    generation: { ...GENERATION, maxTokens: 12, stop: ["="] },
    questions: [{ id: "1", turns: ["<｜User｜>What is 17 + 25?<｜Assistant｜>"], answers: [] }],
  },
  {
    ...{ name: "choices", file: "c.yaml", digest: "c", mode: "raw", generation: GENERATION },
    scoring: { kind: "choice", method: "likelihood", normalise: "characters", delimiter: " " },
    questions: [
      {
        ...{ id: "1", turns: ["The capital of Spain is"], answers: ["Madrid"] },
        choices: ["Madrid", "Tokyo", "Rome"],
      },
    ],
  },
];

let model: LanguageModel;
let mini: Task[];
const memory = new Map<string, Promise<Served>>();
before(async () => {
  model = await loadModel(R1, { threads: 1 });
  mini = await loadTasks(["tasks/mini"]);
});
after(() => model.dispose());

interface Local extends EvaluateOptions {
  slots?: number;
  threads?: number;
}

async function here(tasks: readonly Task[], { slots = 32, threads = 2, ...options }: Local) {
  const target = await openEvalTarget(R1, { slots, threads });
  return evaluate(target, tasks, options).finally(() => target.close());
}

async function behind<T>(
  served: ServerOptions,
  use: (server: OpenAiServer, ask: typeof askThere) => Promise<T>,
): Promise<T> {
  const server = await startServer({ model, memory, ...served });
  const askThere = async (
    tasks: readonly Task[],
    { endpoint = {}, ...options }: EvaluateOptions & { endpoint?: Partial<EndpointOptions> },
  ) => {
    const target = await openEndpoint({
      ...{ url: server.url, name: "x", retries: 0, retryDelayMs: 1 },
      ...endpoint,
    });
    return evaluate(target, tasks, options).finally(() => target.close());
  };
  return use(server, askThere).finally(() => server.close());
}
declare function askThere(
  tasks: readonly Task[],
  options: EvaluateOptions & { endpoint?: Partial<EndpointOptions> },
): ReturnType<typeof evaluate>;

const bytesOf = (folder: string) => readFileSync(join(folder, "records.ndjson"), "utf8");
const linesOf = (text: string) => text.trimEnd().split("\n");

test("evaluate() keeps the same records of a checkpoint and of the same one behind an endpoint", async (t) => {
  const base = temporaryFolder(t);
  const tasks = [...mini, ...ODD];
  const options = { n: 27, seed: 2 };
  const local = join(base, "local");
  const { records } = await here(tasks, { ...options, folder: local });
  assert.equal(records.length, 27);
  assert.ok(new Set(records.map(({ task }) => task)).size >= 7, "several tasks");
  assert.ok(records.filter(({ correct }) => correct).length > 15 && records.some(({ refused }) => refused));
  const odd = await here(ODD, { folder: join(base, "odd") });

  for (const reasoning of ["reasoning_content", "inline"] as const) {
    await behind({ reasoning }, async (server, ask) => {
      const folder = join(base, reasoning);
      await ask(tasks, { ...options, folder });
      assert.equal(bytesOf(folder), bytesOf(local), reasoning);
      assert.equal(server.log.filter(({ method }) => method === "POST").length, 27);
    });
    await behind({ reasoning }, async (_, ask) => {
      const { records: told } = await ask(ODD, { folder: join(base, `${reasoning}-odd`) });
      assert.deepEqual(told.slice(0, 2), odd.records.slice(0, 2));
      // Likelihoods are text in between: equal but for the last digits.
      const { likelihoods = [], ...rest } = told[2]!;
      const { likelihoods: wanted = [], ...others } = odd.records[2]!;
      assert.deepEqual(rest, others);
      for (const [i, { logLikelihood, tokens }] of likelihoods.entries()) {
        assert.ok(Math.abs(logLikelihood - wanted[i]!.logLikelihood) < 1e-4);
        assert.equal(tokens, wanted[i]!.tokens);
      }
    });
  }
  const [twoTurns] = odd.records;
  assert.match(twoTurns!.earlier![0]!.content, /42/);
  assert.deepEqual([twoTurns!.earlier!.length, twoTurns!.turns.length], [1, 2]);
});

test("evaluate() estimates, or leaves open, what an endpoint does not tell of tokens", async () => {
  const { records: wanted } = await here(mini, { n: 8 });
  const texts = (records: EvalRecord[]) =>
    records.map(({ tokens: _, thinkingTokens: __, answerTokens: ___, isEstimated: ____, ...rest }) => rest);
  await behind({ usage: "sum", reasoning: "inline" }, async (_, ask) => {
    const { records, summary } = await ask(mini, { n: 8 });
    assert.deepEqual(texts(records), texts(wanted));
    for (const [i, { tokens, thinkingTokens, answerTokens, isEstimated }] of records.entries()) {
      assert.deepEqual([tokens, thinkingTokens! + answerTokens!], [wanted[i]!.tokens, tokens]);
      assert.equal(isEstimated, true);
    }
    assert.equal(summary!.overall!.isEstimated, true);
  });
  await behind({ usage: "none" }, async (_, ask) => {
    const { records, summary } = await ask(mini, { n: 8 });
    assert.deepEqual(texts(records), texts(wanted));
    for (const { tokens, thinkingTokens, answerTokens } of records)
      assert.deepEqual([tokens, thinkingTokens, answerTokens], [null, null, null]);
    const { tokens, thinkingTokens, answerTokens } = summary!.overall!;
    assert.deepEqual([tokens, thinkingTokens, answerTokens], [null, null, null]);
    assert.equal(summary!.speed.tokensPerSecond, null);
  });
});

test("evaluate() gives the same bytes with any batch and threads, greedy and sampled", async (t) => {
  const base = temporaryFolder(t);
  for (const generation of [{ maxTokens: 24 }, { temperature: 0.8, topP: 0.95, maxTokens: 24 }]) {
    const runs: string[] = [];
    const { temperature } = { temperature: 0, ...generation };
    for (const [slots, threads] of [
      [1, 2],
      [5, 1],
      [32, 2],
    ] as const) {
      const folder = join(base, `${runs.length}-${temperature}`);
      await here(mini, { n: 6, seed: 5, folder, generation, slots, threads });
      runs.push(bytesOf(folder));
    }
    assert.equal(new Set(runs).size, 1, JSON.stringify(generation));
  }
  assert.notEqual(bytesOf(join(base, "0-0")), bytesOf(join(base, "0-0.8")));
});

test("evaluate() that is stopped at any place goes on with what is missing, and ends with the same bytes", async (t) => {
  const base = temporaryFolder(t);
  const options = { n: 16, seed: 1, generation: { temperature: 0.8 } };
  await behind({}, async (server, ask) => {
    const whole = join(base, "whole");
    const undisturbed = await ask(mini, { ...options, folder: whole });
    assert.deepEqual(readdirSync(whole).sort(), [
      "config.json",
      "records.ndjson",
      "summary.json",
      "timings.ndjson",
    ]);
    // Complete: nobody is asked, nothing written.
    server.log.length = 0;
    const again = await ask(mini, { ...options, folder: whole });
    assert.deepEqual([again.records, again.summary], [undisturbed.records, undisturbed.summary]);
    assert.equal(server.log.filter(({ method }) => method === "POST").length, 0);

    const folder = join(base, "stopped");
    const questions = (records: { turns: string[] }[]) => records.map(({ turns }) => turns[0]!).sort();
    let answered = 0;
    for (const stopAt of [1, 5, 6]) {
      const controller = new AbortController();
      const events: EvaluateEvent[] = [];
      const onEvent = (event: EvaluateEvent) => {
        events.push(event);
        if (event.kind === "answered" && event.done >= stopAt) controller.abort();
      };
      const { signal } = controller;
      const running = ask(mini, { ...options, folder, signal, onEvent, endpoint: { concurrency: 2 } });
      await assert.rejects(running, (error) => {
        assert.ok(error instanceof Interrupted);
        assert.match((error as Error).message, /^\d+ of 16 answers are kept$/);
        return true;
      });
      const [started] = events;
      assert.deepEqual(started, { kind: "started", name: "x", done: answered, total: 16 });
      const now = linesOf(bytesOf(folder)).length;
      assert.ok(now > answered && now < 16);
      answered = now;
      assert.ok(!existsSync(join(folder, "summary.json")));
    }
    // As a process that was killed in the middle of a line leaves it.
    appendFileSync(join(folder, "records.ndjson"), linesOf(bytesOf(whole))[15]!.slice(0, -1));
    appendFileSync(join(folder, "timings.ndjson"), '{"task": "mini-s');
    const kept = new Set(questions((await readRun(folder)).records));
    assert.equal(kept.size, answered, "a line that is torn is none");
    server.log.length = 0;
    const run = await ask(mini, { ...options, folder });
    // Requests that were closed may reach the log late; of what was answered there is none.
    const asked = new Set(server.log.flatMap(({ body }) => (body ? [body.messages.at(-1).content] : [])));
    assert.deepEqual(
      [...asked].sort(),
      questions(undisturbed.records).filter((question) => !kept.has(question)),
    );
    assert.equal(bytesOf(folder), bytesOf(whole));
    assert.deepEqual(readdirSync(folder).sort(), readdirSync(whole).sort());
    assert.deepEqual([run.summary!.complete, run.summary!.speed.sessions], [true, 4]);
    const { speed: _, ...rest } = run.summary!;
    const { speed: __, ...wanted } = undisturbed.summary!;
    assert.deepEqual(rest, wanted);
  });
});

test("evaluate() goes on without a question that fails, and asks it again the next time", async (t) => {
  const folder = join(temporaryFolder(t), "run");
  const script: ServerOptions["script"] = [{ kind: "answer" }, { kind: "malformed" }, { kind: "drop" }];
  await behind({ script }, async (server, ask) => {
    const events: EvaluateEvent[] = [];
    const options = { n: 6, folder, endpoint: { concurrency: 1 } };
    const run = await ask(mini, { ...options, onEvent: (event) => events.push(event) });
    assert.deepEqual([run.records.length, run.summary!.complete, run.summary!.asked], [4, false, 6]);
    const failed = events.filter(({ kind }) => kind === "failed");
    assert.equal(failed.length, 2);
    assert.deepEqual(JSON.parse(readFileSync(join(folder, "summary.json"), "utf8")), run.summary);
    server.log.length = 0;
    const whole = await ask(mini, options);
    assert.equal(server.log.filter(({ method }) => method === "POST").length, 2);
    assert.equal(whole.summary!.complete, true);
    assert.deepEqual(whole.records, (await ask(mini, { n: 6 })).records);
  });
});

test("evaluate() gives a target up after five failures in a row; what was answered stays", async (t) => {
  const folder = join(temporaryFolder(t), "run");
  // One more than failures: what breaks on a connection that was used before is tried on a new one.
  const drops = Array.from({ length: 6 }, () => ({ kind: "drop" }) as const);
  await behind({ script: [{ kind: "answer" }, ...drops] }, async (server, ask) => {
    const options = { n: 9, folder, endpoint: { concurrency: 1 } };
    await assert.rejects(ask(mini, options), { name: "EvaluationError", code: "unreachable" });
    assert.equal(server.log.filter(({ method }) => method === "POST").length, 7);
    assert.equal(linesOf(bytesOf(folder)).length, 1);
    const { summary } = await ask(mini, options);
    assert.deepEqual([summary!.complete, summary!.answered], [true, 9]);
  });
});

test("evaluate() refuses a model that changes, within a run and across a stop", async (t) => {
  const folder = join(temporaryFolder(t), "run");
  const endpoint = { concurrency: 1, model: "mini" };
  await behind({ renamedFrom: { answer: 3, name: "other\u001b[31m" } }, async (server, ask) => {
    const changed = { code: "model-changed", message: /from the model "other.*", wanted "mini" as before$/s };
    await assert.rejects(ask(mini, { n: 8, folder, endpoint }), changed);
    assert.equal(linesOf(bytesOf(folder)).length, 3);
    server.log.length = 0;
    await assert.rejects(ask(mini, { n: 8, folder, endpoint }), changed);
    assert.equal(linesOf(bytesOf(folder)).length, 3, "none of the other's answers");
  });
});

test("evaluate() refuses tasks without questions, and folders that hold something else, untouched", async (t) => {
  const base = temporaryFolder(t);
  const options = { folder: join(base, "run"), n: 2, seed: 0 };
  await behind({}, async (_, ask) => {
    const none = [{ ...ODD[0]!, questions: [] }];
    await assert.rejects(ask(none, { folder: join(base, "none") }), TaskError);
    await ask(mini, options);
    const before = readdirSync(options.folder).map((name) =>
      readFileSync(join(options.folder, name), "utf8"),
    );
    const others: [EvaluateOptions, RegExp][] = [
      [{ n: 3 }, /: n 2, wanted 3$/],
      [{ seed: 4 }, /: seed 0, wanted 4$/],
      [{ generation: { maxTokens: 7 } }, /: generation {}, wanted {"maxTokens":7}$/],
      [{ system: "Rhyme." }, /: system null, wanted "Rhyme\."$/],
    ];
    for (const [other, message] of others)
      await assert.rejects(ask(mini, { ...options, ...other }), { code: "other-run", message });
    const mended = mini.map((task) => ({ ...task, digest: `${task.digest}x` }));
    await assert.rejects(ask(mended, options), { message: /: task "mini-\w+" as it was before/ });
    await assert.rejects(ask(mini, { ...options, endpoint: { model: "else" } }), { message: /: target "/ });
    assert.deepEqual(
      readdirSync(options.folder).map((name) => readFileSync(join(options.folder, name), "utf8")),
      before,
    );

    for (const [name, text] of [
      ["notes.txt", "mine"],
      ["config.json", '{"model_type": "deepseek_v3"}'],
      ["config.json", "{"],
    ] as const) {
      const folder = temporaryFolder(t);
      writeFileSync(join(folder, name), text);
      await assert.rejects(ask(mini, { ...options, folder }), { name: "EvaluationError" });
      assert.deepEqual(readdirSync(folder), [name]);
    }
  });
});
