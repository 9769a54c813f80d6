/** The card that is pushed: names of parents, results of runs, and a child that verifies with it. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { build } from "../../src/build/build.ts";
import { verify } from "../../src/build/verify.ts";
import { readRunHead } from "../../src/eval/run-folder.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import { push } from "../../src/transfer/push.ts";
import { completeCard, withResults } from "../../src/transfer/pushed-card.ts";
import { startMain } from "../cli/run-main.ts";
import { TestHub } from "../support/hub/hub-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { filesOf, useHub } from "./use-hub.ts";

const RECIPE = `version: 1
parents: { v3: models/mini-v3, r1: models/mini-r1 }
base: v3
rules:
  - tensors: routed-experts
    weights: { r1: 1 }
`;

describe("the card of a child that is pushed", () => {
  const hub = new TestHub({ lfsBytes: 1 << 16 });
  const folder = temporaryFolder({ after });
  const child = join(folder, "child");
  const runs = join(folder, "runs");

  before(async () => {
    await hub.start();
    await build(await planRecipe(parseRecipe(RECIPE), {}), child);
    const args = ["eval", child, "--n", "6", "--max-tokens", "16", "-o", runs, "--progress", "none"];
    const { status, stderr } = await startMain(args).result;
    assert.equal(status, 0, stderr);
  });
  after(() => hub.stop());
  useHub(hub);
  before(() => {
    process.env.HF_TOKEN = "hf_test";
  });
  const cardOf = (repo: string) =>
    Buffer.from(hub.repos.get(repo)!.files.get("README.md") as Uint8Array).toString();

  test("names parents that came from the Hub by themselves", async () => {
    hub.add("chimera/mini-v3", filesOf("models/mini-v3"));
    hub.add("chimera/mini-r1", filesOf("models/mini-r1"));
    const to = join(folder, "remote");
    const locations = { v3: "hf:chimera/mini-v3", r1: "hf:chimera/mini-r1" };
    await build(await planRecipe(parseRecipe(RECIPE), { locations }), to);
    await push(to, "chimera/remote");
    assert.match(
      cardOf("chimera/remote"),
      /\nbase_model:\n {2}- "chimera\/mini-v3"\n {2}- "chimera\/mini-r1"\nbase_model_relation: merge\n---\n/,
    );
    assert.equal(cardOf("chimera/remote"), readFileSync(join(to, "README.md"), "utf8"));
  });

  test("takes names and results that are given, and the child verifies with them", async () => {
    const { summary } = await readRunHead(runs);
    await push(child, "chimera/told", {
      ...{ results: [runs], baseModels: { v3: "org/Mini-V3", r1: "org/Mini-R1" } },
    });
    const card = cardOf("chimera/told");
    assert.match(
      card,
      /\nbase_model:\n {2}- "org\/Mini-V3"\n {2}- "org\/Mini-R1"\nbase_model_relation: merge\nmodel-index:/,
    );
    const { accuracy, answers, tokens } = summary!.overall!;
    assert.equal(answers, 6);
    const row = `| ${summary!.name} | all | 6 | ${accuracy!.value.toFixed(3)} (`;
    assert.ok(card.includes(row), card);
    assert.ok(card.includes(`| ${tokens!.mean.toFixed(1)} |`));
    const [task, group] = Object.entries(summary!.tasks).find(([, { accuracy }]) => accuracy)!;
    const dataset = `dataset: { name: "${task}", type: "${task}" }`;
    const metric = `metrics: [{ type: accuracy, value: ${Number(group.accuracy!.value.toFixed(4))} }]`;
    assert.ok(
      card.includes(`- task: { type: text-generation }\n        ${dataset}\n        ${metric}\n`),
      card,
    );
    assert.ok(card.indexOf("## Results") < card.indexOf("## Limits"));
    assert.equal((await verify("hf:chimera/told", { all: true })).ok, true);
    assert.equal(readFileSync(join(child, "README.md"), "utf8").includes("Results"), false);
  });

  test("of a child of folders has no base model rather than a wrong one", async () => {
    await push(child, "chimera/silent");
    assert.equal(cardOf("chimera/silent").includes("base_model"), false);
    await assert.rejects(push(child, "chimera/silent", { baseModels: { v4: "org/V4" } }), {
      code: "unknown-parent",
      message: /"v4": its parents are v3, r1/,
    });
  });
});

const GROUP = {
  ...{ answers: 10, thinkingTokens: null, answerTokens: null, isEstimated: false },
  accuracy: { count: 7, of: 10, value: 0.7, low: 0.397, high: 0.892 },
  tokens: { mean: 12.34, median: 12, p90: 20, total: 123 },
  ...{
    opensThinking: share(1),
    closesThinking: share(1),
    refused: share(2),
    cutOff: share(0),
    functional: share(9),
  },
};

function share(count: number): { count: number; of: number; value: number; low: number; high: number } {
  return { count, of: 10, value: count / 10, low: 0, high: 1 };
}

test("completeCard() replaces what it must and keeps the rest, byte for byte", () => {
  const card = `---
license: mit
base_model:
  - "v3"
  - r1
base_model_relation: merge
language: [en]
library_name: other
---

# Mine

Text.
`;
  assert.equal(
    completeCard(card, { baseModels: ["a/b", undefined, "a/b", "c/d"], results: [] }),
    `---
license: mit
language: [en]
library_name: other
pipeline_tag: text-generation
tags: [merge, moe, assembly-of-experts, chimera]
base_model:
  - "a/b"
  - "c/d"
base_model_relation: merge
---

# Mine

Text.
`,
  );
  const complete = completeCard(card, { baseModels: [], results: [] });
  assert.ok(complete.includes('base_model:\n  - "v3"\n  - r1\n'));
  assert.equal(completeCard(complete, { baseModels: [], results: [] }), complete);
});

test("withResults() puts figures in the place of those that were there", () => {
  const result = {
    isOwn: false,
    name: "a|b",
    digest: "0123456789abcdef0123",
    asked: 10,
    overall: GROUP,
    tasks: { sums: GROUP },
  };
  const once = withResults("# Mine\n", [result]);
  assert.match(once, /\| a b \| sums \| 10 \| 0\.700 \(0\.40–0\.89\) \| 12\.3 \| 20\.0 % \|\n/);
  assert.equal(withResults(once, [result]), once);
  assert.equal(withResults("# Mine\n", []), "# Mine\n");
  assert.equal(once.includes("model-index"), false); // of another model
  const own = withResults("---\nlicense: mit\nmodel-index:\n  - name: old\n---\n# Mine\n", [
    { ...result, isOwn: true },
  ]);
  assert.ok(
    own.startsWith('---\nlicense: mit\nmodel-index:\n  - name: "a|b"\n    results:\n      - task:'),
    own,
  );
  assert.equal(withResults(own, [{ ...result, isOwn: true }]), own);
  const unscored = { ...GROUP, accuracy: null, tokens: null };
  assert.match(
    withResults("", [{ ...result, tasks: { open: unscored } }]),
    /\| open \| 10 \| – \| – \| 20\.0 % \|/,
  );
});
