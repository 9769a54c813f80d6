/** The package as those see it who install it: by its name, through the exports of package.json. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type * as Library from "../src/index.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

// By a variable: the compiler would look for declarations that it has yet to write.
const NAME = "chimera";
const library = (): Promise<typeof Library> => import(NAME);
const PARENTS = ["models/mini-v3", "models/mini-r1"] as const;

test("chimera plans, builds, verifies, inspects and compares by its name, with events", async (t) => {
  const { planRecipe, build, verify, inspect, compare, distanceMap } = await library();
  const child = join(temporaryFolder(t), "child");
  const kinds: string[] = [];
  const onEvent = ({ kind }: { kind: string }) => kinds.push(kind);
  // Progress comes at most ten times a second: what is over in a moment may tell none.
  const take = () => [...new Set(kinds.splice(0))].filter((kind) => kind !== "progress");

  const plan = await planRecipe("recipes/mini/r1t-half.yaml");
  assert.equal(plan.totals.tensors.all, 501);

  const built = await build(plan, child, { workers: 2, onEvent });
  assert.deepEqual([built.finished, built.shards.written], [true, 2]);
  assert.deepEqual(take().sort(), ["finished", "finishing", "shard-written", "started"]);

  const proof = await verify(child, { all: true, onEvent });
  assert.deepEqual([proof.ok, proof.findings], [true, []]);
  assert.deepEqual(take(), ["started", "finished"]);

  const { totals, lineage } = await inspect(child);
  assert.deepEqual([totals.tensors, lineage?.base], [501, "v3"]);

  const report = await compare(PARENTS[0], child, { workers: 1, onEvent });
  assert.equal(report.total.tensors - report.total.identical, 144);
  assert.deepEqual(take(), ["started", "finished"]);
  assert.match(distanceMap(report), /^<svg /);
});

test("chimera stops by an AbortSignal, from an event too, and resumes", async (t) => {
  const { planRecipe, build, verify, compare, Interrupted } = await library();
  const child = join(temporaryFolder(t), "child");
  const plan = await planRecipe("recipes/mini/r1t-half.yaml");
  const controller = new AbortController();
  const { signal } = controller;
  const onEvent = ({ kind }: { kind: string }) => {
    if (kind === "shard-written") controller.abort();
  };
  await assert.rejects(build(plan, child, { workers: 1, signal, onEvent }), Interrupted);
  const { shards } = await build(plan, child);
  assert.deepEqual([shards.written, shards.resumed], [1, 1]);
  await assert.rejects(verify(child, { signal }), Interrupted);
  await assert.rejects(compare(...PARENTS, { signal }), Interrupted);
});

test("chimera throws classes with codes, all problems at once, and TypeError for contradictions", async (t) => {
  const { parseRecipe, planRecipe, build, inspect, RecipeError, CheckpointError } = await library();
  assert.throws(
    () => parseRecipe("version: 2\nbase: x\nbasis: y\n"),
    (error) => error instanceof RecipeError && error.problems.length > 2,
  );
  await assert.rejects(
    inspect("models/none"),
    (error) => error instanceof CheckpointError && error.code === "missing",
  );
  const plan = await planRecipe("recipes/mini/r1t.yaml");
  const child = join(temporaryFolder(t), "child");
  for (const options of [
    { finish: true, force: true },
    { part: { index: 0, count: 2 }, force: true },
  ])
    await assert.rejects(build(plan, child, options), TypeError);
  assert.equal(existsSync(child), false);
});

test("package.json ships what the commands and the library need", () => {
  const { files, exports, bin } = JSON.parse(readFileSync("package.json", "utf8"));
  const needed = [
    ...[bin.chimera, exports["."].types, exports["."].default, "models/mini-v3/config.json"],
    ...["models/mini-r1/tokenizer.json", "recipes/mini/r1t.yaml", "recipes/recipe.schema.json"],
  ].map((path) => path.replace("./", ""));
  for (const path of needed) {
    assert.ok(existsSync(path), path);
    assert.ok(
      files.some((shipped: string) => path.startsWith(`${shipped}/`)),
      `${path} is not shipped`,
    );
  }
});

const QUESTION = "What is 17 + 25?";

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

test("chimera runs a checkpoint: events of an answer, a conversation, raw text, ids and logits", async () => {
  const { loadModel, newStats } = await library();
  const model = await loadModel("models/mini-r1", { threads: 1, traces: true });
  try {
    const stats = newStats();
    let [content, reasoning] = ["", ""];
    const sequence = model.newSequence();
    for await (const event of model.generate(QUESTION, { temperature: 0, stats, sequence })) {
      if (event.kind === "content") content += event.text;
      if (event.kind === "reasoning") reasoning += event.text;
    }
    assert.equal(content, "17 + 25 = 42.");
    assert.match(reasoning, /^Let me work this out/);
    assert.equal(stats.finish, "stop");

    const turns = [
      { role: "user", content: QUESTION },
      { role: "assistant", content },
      { role: "user", content: "What is 3 + 4?" },
    ];
    const second = newStats();
    for await (const _ of model.generate(turns, { temperature: 0, stats: second, sequence, maxTokens: 5 }));
    assert.ok(second.cachedTokens > 10 && second.tokens === 5);
    model.release(sequence);

    const raw: string[] = [];
    for await (const event of model.generate("What is", { raw: true, temperature: 0, maxTokens: 4 }))
      if (event.kind === "content") raw.push(event.text);
    assert.ok(raw.join("").length > 0);

    const { tokenizer } = await model.text();
    const ids = tokenizer.encode("<think>What is 17 + 25?");
    const { shape, logits, hidden } = await model.forward(ids);
    const { vocab, hidden: width, numLayers } = model.engine.config.sizes;
    assert.deepEqual(shape, [1, ids.length, vocab]);
    assert.equal(logits.length, ids.length * vocab);
    assert.equal(hidden!.size, numLayers + 2);
    assert.equal(hidden!.get("hidden.norm")!.length, ids.length * width);
    const batch = await model.forward([ids, ids]);
    assert.deepEqual(batch.logits.slice(logits.length), logits);

    const last = logits.subarray((ids.length - 1) * vocab);
    const [next] = await collect(model.generateIds(ids, { maxTokens: 1 }));
    assert.equal(next, last.indexOf(Math.max(...last)));
    await assert.rejects(model.forward([ids, [1]]), /wanted one length/);
    await assert.rejects(model.forward([]), /wanted at least one token/);
  } finally {
    await model.dispose();
  }
});

test("chimera runs a recipe's child, from its file and from its plan; signals stop it", async () => {
  const { loadModel, planRecipe, Interrupted, newStats } = await library();
  const answers: string[] = [];
  for (const source of ["recipes/mini/r1t.yaml", await planRecipe("recipes/mini/r1t.yaml")]) {
    const model = await loadModel(source, { threads: 2, mtp: false });
    let text = "";
    for await (const event of model.generate(QUESTION, { temperature: 0 }))
      if (event.kind === "content") text += event.text;
    answers.push(text);

    const controller = new AbortController();
    const stats = newStats();
    for await (const event of model.generate(QUESTION, { signal: controller.signal, stats }))
      if (event.kind !== "finish") controller.abort();
    assert.equal(stats.finish, "aborted");
    const stopped = model.generate(QUESTION, { signal: controller.signal });
    await assert.rejects(stopped.next(), Interrupted);
    await model.dispose();
  }
  assert.equal(answers[0], answers[1]);
  assert.ok(answers[0]!.length > 0);
  await assert.rejects(loadModel("models/none"), /CheckpointError|there is no such/);
  await assert.rejects(loadModel("models/mini-r1", { signal: AbortSignal.abort() }), Interrupted);
});
