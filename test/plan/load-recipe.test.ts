import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { CheckpointError, PlanError, RecipeError } from "../../src/base/errors.ts";
import { loadPlan, loadRecipe, parsePlan } from "../../src/plan/load-recipe.ts";
import type { BuildPlan } from "../../src/plan/plan.ts";
import { planDigest } from "../../src/plan/plan-recipe.ts";
import { planOf, smallParent, writePlan } from "../build/support.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const ends: (() => void)[] = [];
after(() => {
  for (const end of ends) end();
});
const folder = temporaryFolder({ after: (end) => ends.push(end) });
let plan: BuildPlan;
before(async () => {
  const [a, b] = ["a", "b"].map((name, i) => smallParent(join(folder, name), i + 1)) as [string, string];
  plan = await planOf({
    parents: { a, b },
    rules: "  - tensors: attention\n    weights: { b: 0.5 }\n    threshold: 0.1",
  });
});

/** biome-ignore lint/suspicious/noExplicitAny: the edits are of all kinds */
type Loose = any;

function edited(edit: (plan: Loose) => void): string {
  const copy = structuredClone(plan) as Loose;
  edit(copy);
  return JSON.stringify(copy);
}

function problemsOf(text: string): PlanError["problems"] {
  try {
    parsePlan(text, "p.json");
  } catch (error) {
    assert.ok(error instanceof PlanError, String(error));
    return error.problems;
  }
  return [];
}

describe("parsePlan()", () => {
  test("gives back the very plan", async () => {
    const again = await loadPlan(writePlan(join(folder, "plan.json"), plan));
    assert.deepEqual(again, JSON.parse(JSON.stringify(plan)));
    assert.equal(planDigest(again), plan.digest);
    // As `chimera plan --json | jq .` leaves it.
    assert.equal(
      parsePlan(JSON.stringify({ schemaVersion: 1, ...plan }, null, 2), "p.json").digest,
      plan.digest,
    );
  });

  const edits: Record<string, (plan: Loose) => void> = {
    "a weight": (p) => (p.merges[0].inputs[0].weight = 0.6),
    "a threshold": (p) => (p.merges[0].test.threshold = 0),
    "a source": (p) => (p.shards[0].tensors[0].action.parent = 1),
    "an offset": (p) => (p.shards[0].tensors[0].action.offset += 8),
    "a shard's name": (p) => (p.shards[0].name = "other.safetensors"),
    "a tensor left out": (p) => p.shards[0].tensors.pop(),
    "the output": (p) => (p.output.scaleFormat = "ue8m0"),
    "the template's parent": (p) => (p.files.chatTemplate = 1),
    "the base": (p) => (p.base = 1),
    "a parent's digest": (p) => (p.parents[0].digest = "0".repeat(64)),
    "the digest": (p) => (p.digest = "0".repeat(64)),
    total_size: (p) => (p.totals.tensorBytes += 1),
    "bytes to write": (p) => (p.totals.writeBytes = 1),
    "bytes to read": (p) => (p.totals.readBytes[0] = 0),
  };
  for (const [name, edit] of Object.entries(edits)) {
    test(`refuses ${name} that was edited`, () => {
      assert.deepEqual(
        problemsOf(edited(edit)).map(({ code }) => code),
        ["plan-changed"],
      );
    });
  }

  for (const field of [
    "recipe",
    "parents",
    "output",
    "merges",
    "shards",
    "files",
    "accounts",
    "totals",
    "warnings",
  ]) {
    test(`refuses a plan without ${field}, in words`, () => {
      for (const value of [undefined, null, 5]) {
        const [problem] = problemsOf(edited((p) => (p[field] = value)));
        assert.match(problem?.code ?? "accepted", /^plan-(json|changed)$/, `${field}: ${value}`);
      }
    });
  }

  test("refuses names that lead out of the folder, even with a digest that fits", () => {
    for (const name of ["../x.safetensors", "a/b.safetensors", "config.json", "\0.safetensors"]) {
      const text = edited((p) => {
        p.shards[0].name = name;
        p.digest = planDigest(p);
      });
      assert.deepEqual(
        problemsOf(text).map(({ code }) => code),
        ["plan-path"],
        name,
      );
    }
  });

  test("says what a file is that is no plan", () => {
    assert.deepEqual(
      [
        "",
        "{",
        "null",
        "[]",
        '{"format": "x"}',
        '{"format": "chimera-plan", "version": 2}',
        '{"format": "chimera-plan", "version": 1}',
      ].map((text) => problemsOf(text)[0]?.code),
      ["plan-json", "plan-json", "not-a-plan", "not-a-plan", "not-a-plan", "plan-version", "plan-json"],
    );
  });
});

test("loadPlan() of what is not there is a CheckpointError", async () => {
  await assert.rejects(
    loadPlan(join(folder, "none.json")),
    (error) => error instanceof CheckpointError && error.code === "missing",
  );
});

test("loadRecipe() of what is not there, or is no recipe, is a RecipeError", async () => {
  await assert.rejects(
    loadRecipe(join(folder, "none.yaml")),
    (error) => error instanceof RecipeError && error.problems[0]!.code === "missing",
  );
  const path = join(folder, "bad.yaml");
  writeFileSync(path, "version: 2\n");
  await assert.rejects(
    loadRecipe(path),
    (error) => error instanceof RecipeError && error.problems.length > 1,
  );
});
