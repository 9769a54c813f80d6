import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { CheckpointError, PlanError, RecipeError } from "../../src/base/errors.ts";
import { totalsOf } from "../../src/plan/accounts.ts";
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

/** With the digest and totals that a forger would compute, as far as they can be. */
function forged(edit: (plan: Loose) => void): string {
  return edited((p) => {
    edit(p);
    try {
      p.totals = totalsOf({ ...p, numParents: p.parents.length });
      p.digest = planDigest(p);
    } catch {
      // The loader cannot compute them either.
    }
  });
}

function mergedOf(p: Loose): Loose {
  return p.shards
    .flatMap(({ tensors }: Loose) => tensors)
    .find(({ action }: Loose) => action.kind === "merge");
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
        assert.match(problem?.code ?? "accepted", /^plan-(json|changed|fault)$/, `${field}: ${value}`);
      }
    });
  }

  test("refuses names that lead out of the folder, even with a digest that fits", () => {
    for (const name of [
      "../x.safetensors",
      "/x.safetensors",
      "config.json",
      "\0.safetensors",
      "x".repeat(300),
    ]) {
      for (const place of ["shard", "copy", "input"]) {
        const [problem] = problemsOf(
          forged((p) => {
            if (place === "shard") p.shards[0].name = name;
            else if (place === "copy") p.shards[0].tensors[0].action.shard = name;
            else p.merges[0].inputs[0].shard = name;
          }),
        );
        assert.equal(problem?.code, "plan-fault", `${place}: ${name}`);
        assert.match(problem.message, /Cannot use plan "p.json": .+ is ".+, wanted a /);
      }
    }
  });

  const forgeries: Record<string, (plan: Loose) => void> = {
    "a base that is no parent": (p) => (p.base = 2),
    "no output": (p) => (p.output = null),
    "blocks of nothing": (p) => (p.output.block = [0, 128]),
    "blocks beyond memory": (p) => (p.output.block = [2 ** 40, 2 ** 40]),
    "files of no parent": (p) => (p.files.chatTemplate = -1),
    "no files": (p) => (p.files = null),
    "a parent without digest": (p) => (p.parents[0].digest = null),
    "a parent nowhere": (p) => (p.parents[0].location = ""),
    "a parent's shard that is none": (p) => p.parents[0].shards.push(null),
    "two shards of one name": (p) => (p.shards[1].name = p.shards[0].name),
    "two tensors of one name": (p) => (p.shards[1].tensors[0].name = p.shards[0].tensors[0].name),
    "metadata that is no pairs": (p) => (p.shards[0].metadata = "x"),
    "data that begins inside the header": (p) => (p.shards[0].dataStart -= 8),
    "tensors that overlap": (p) => (p.shards[0].tensors[1].offset -= 2),
    "an offset below 0": (p) => (p.shards[0].tensors[0].offset = -8),
    "a type that is none": (p) => (p.shards[0].tensors[0].dtype = "X"),
    "a length that is not the shape's": (p) => (p.shards[0].tensors[0].shape = [6, 9]),
    "a source before the file": (p) => (p.shards[0].tensors[0].action.offset = -1),
    "a source between two bytes": (p) => (p.shards[0].tensors[0].action.offset = 8.5),
    "a merge that is not there": (p) => (mergedOf(p).action.merge = 1),
    "a merge of another shape": (p) => (p.merges[0].shape = [2 ** 40, 2 ** 40]),
    "a merge into another type": (p) => (p.merges[0].dtype = "BF16"),
    "a merge without scales": (p) => delete p.merges[0].scaleDtype,
    "a sum of nothing": (p) => (p.merges[0].inputs = []),
    "a weight that is none": (p) => (p.merges[0].inputs[0].weight = null),
    "an operand of no parent": (p) => (p.merges[0].inputs[0].parent = -1),
    "an operand of another length": (p) => (p.merges[0].inputs[0].byteLength -= 1),
    "an operand without scale": (p) => delete p.merges[0].inputs[0].scale,
    "a scale outside the folder": (p) => (p.merges[0].inputs[0].scale.shard = "../x.safetensors"),
    "a threshold below 0": (p) => (p.merges[0].test.threshold = -1),
    "an unknown measure": (p) => (p.merges[0].test.measure = "rmse"),
    "accounts that are none": (p) => (p.accounts = [null]),
    "warnings that are no text": (p) => (p.warnings = [{}]),
  };
  for (const [name, edit] of Object.entries(forgeries)) {
    test(`refuses ${name}, even where digest and totals fit`, () => {
      const [problem, ...more] = problemsOf(forged(edit));
      assert.ok(problem, "accepted");
      assert.deepEqual(more, []);
      assert.match(problem.code, /^plan-(fault|json)$/, problem.message);
      assert.match(problem.message, /^Cannot use plan "p.json": /);
    });
  }

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
