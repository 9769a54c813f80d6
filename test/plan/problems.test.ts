/** Everything that keeps a recipe from becoming a plan: all of it at once, each with its place. */
import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { CheckpointError, PlanError, type Problem } from "../../src/base/errors.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import {
  CONFIG,
  changing,
  planOf,
  type RecipeParts,
  randomFrom,
  recipeOf,
  smallParent,
  tensor,
} from "../build/support.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const ends: (() => void)[] = [];
after(() => {
  for (const end of ends) end();
});
const folder = temporaryFolder({ after: (end) => ends.push(end) });
let a: string;
before(() => {
  a = smallParent(join(folder, "a"), 1);
});

/** All problems, as the command line shows them: file:line:column code. */
async function problemsOf(parts: RecipeParts): Promise<Problem[]> {
  try {
    await planRecipe(recipeOf(parts, "r.yaml"));
  } catch (error) {
    assert.ok(error instanceof PlanError, String(error));
    return [...error.problems];
  }
  return assert.fail("the recipe was planned");
}

const placesOf = (problems: readonly Problem[]) =>
  problems.map(({ file, line, column, code }) => `${file}:${line}:${column} ${code}`);
const random = () => randomFrom(9);
const O_PROJ = "model.layers.0.self_attn.o_proj.weight";

describe("planRecipe() tells of every problem at once, with file, line and column", () => {
  test("of rules and of parents together", async () => {
    const b = smallParent(join(folder, "many"), 2, {
      change: (tensors) => {
        changing("lm_head.weight", (t) => ({ ...t, shape: [4, 12] }))(tensors);
        changing("model.norm.weight", () => undefined)(tensors);
        changing(`${O_PROJ}_scale_inv`, () => undefined)(tensors);
        changing("model.layers.0.mlp.gate_proj.weight_scale_inv", (t) => ({ ...t, shape: [1, 2] }))(tensors);
      },
    });
    const rules = `
  - tensors: [lm-head, norms]
    weights: { b: 0.5 }
  - tensors: { role: routed-experts, layers: 7-9 }
    weights: { b: 1 }
  - tensors: embeddings
    weights: { b: [0, 1] }
  - tensors: { role: shared-experts, matrices: [up_proj] }
    weights: { b: 1 }`;
    const problems = await problemsOf({ parents: { a, b }, rules });
    assert.deepEqual(placesOf(problems), [
      ...["r.yaml:4:3 missing-block-scale", "r.yaml:4:3 scale-shape"],
      ...["r.yaml:8:5 missing-tensor", "r.yaml:8:5 shape-mismatch"],
      "r.yaml:10:14 empty-selection",
      "r.yaml:13:16 gradient-outside-layers",
      "r.yaml:14:14 empty-selection",
    ]);
    const messages = problems.map(({ message }) => message).join("\n");
    assert.match(messages, /Cannot take "model.norm.weight" from "b": it is not there, wanted as in "a"/);
    assert.match(messages, /its shape in "b" \(.+\.safetensors\) is \[4, 12\], wanted \[6, 8\] as in "a" \(/);
    assert.match(messages, /role routed-experts, layers 7-9 selects nothing in "a"/);
    assert.match(
      messages,
      /"model\.layers\.0\.self_attn\.o_proj\.weight" of "b" \(.+\.safetensors\): F8_E4M3 \[10, 130\] without a block scale/,
    );
  });

  test("a matrix that was mistyped, with the nearest of the base's", async () => {
    const rules = "  - tensors: { role: routed-experts, matrices: [up_porj] }\n    weights: { b: 1 }";
    const [problem, ...more] = await problemsOf({ parents: { a, b: a }, rules });
    assert.deepEqual(
      [problem?.code, problem?.note, more],
      ["empty-selection", 'Did you mean "up_proj"?', []],
    );
  });

  test("parents of another architecture, another vocabulary, other sizes", async () => {
    const b = smallParent(join(folder, "mixtral"), 2, {
      config: { model_type: "mixtral", num_hidden_layers: 2 },
    });
    const c = smallParent(join(folder, "vocabulary"), 3, {
      config: { ...CONFIG, vocab_size: 7, hidden_size: 16 },
    });
    const problems = await problemsOf({
      parents: { a, b, c },
      rules: "  - tensors: all\n    weights: { b: 0.5, c: 0.1 }",
    });
    assert.deepEqual(placesOf(problems), [
      "r.yaml:4:3 architecture-mismatch",
      "r.yaml:5:3 config-mismatch",
      "r.yaml:5:3 config-mismatch",
    ]);
    assert.match(problems[0]!.message, /architecture is mixtral, wanted deepseek_v3/);
    assert.match(
      problems.map(({ message }) => message).join("\n"),
      /vocab_size is 7, in "a" it is 6, wanted equal/,
    );
  });

  test("an unknown architecture has no roles", async () => {
    const config = { model_type: "own_invention" };
    const b = smallParent(join(folder, "unknown"), 2, { config });
    const rules = "  - tensors: attention\n    weights: { a: 1 }";
    const [problem, ...others] = await problemsOf({
      parents: { a: b },
      rules,
      rest: "output: { dtype: f8_e4m3 }\n",
    });
    assert.deepEqual(
      [problem, ...others].map((each) => each!.code),
      ["unknown-architecture", "empty-selection"],
    );
    assert.match(others[0]!.note!, /only the role `all` and name globs/);
    // These it has.
    const plan = await planOf({
      parents: { a: b },
      rules: "  - tensors: [all, { name: 'lm_*' }]\n    weights: { a: 1 }",
    });
    assert.equal(plan.totals.tensors.copied, 14);
  });

  test("a base whose FP8 has no scale, or one of another shape, also when no rule takes it", async () => {
    const base = smallParent(join(folder, "base"), 1, {
      change: (tensors) => {
        changing(`${O_PROJ}_scale_inv`, () => undefined)(tensors);
        changing("model.layers.1.mlp.experts.1.up_proj.weight_scale_inv", (t) => ({ ...t, shape: [1] }))(
          tensors,
        );
      },
    });
    const problems = await problemsOf({ parents: { a: base } });
    assert.deepEqual(placesOf(problems), ["r.yaml:3:3 missing-block-scale", "r.yaml:3:3 scale-shape"]);
    // Of a parent that no rule uses, nothing is asked.
    const plan = await planOf({ parents: { a, b: base }, rules: "  - tensors: all\n    weights: { a: 1 }" });
    assert.equal(plan.totals.readBytes[1], 0);
  });

  for (const dtype of ["I64", "F64", "U8", "BOOL"] as const) {
    test(`${dtype} in a fractional merge, in a test, but not in a copy`, async () => {
      const extra = (seed: number, name: string) =>
        smallParent(join(folder, `${dtype}-${name}`), seed, {
          change: (tensors) => {
            if (tensors.has("lm_head.weight"))
              tensors.set("extra.ids", tensor("extra.ids", dtype, [3], { random: random() }));
          },
        });
      const parents = { a: extra(1, "a"), b: extra(2, "b") };
      for (const rule of ["weights: { b: 0.5 }", "weights: { b: 1 }\n    threshold: 0"]) {
        const problems = await problemsOf({ parents, rules: `  - tensors: all\n    ${rule}` });
        assert.deepEqual(placesOf(problems), ["r.yaml:7:5 not-computable"]);
        assert.match(
          problems[0]!.message,
          new RegExp(`Cannot merge "extra.ids": it is ${dtype} in "[ab]", wanted F32, BF16, F16 or F8_E4M3`),
        );
      }
      const plan = await planOf({
        parents,
        rules: "  - tensors: all\n    weights: { b: 1 }",
        rest: "output: { dtype: bf16 }\n",
      });
      assert.equal(
        plan.shards.flatMap(({ tensors }) => tensors).find(({ name }) => name === "extra.ids")!.dtype,
        dtype,
      );
    });
  }

  test("a sum that would be E5M2", async () => {
    const e5m2 = (seed: number) =>
      smallParent(join(folder, `e5m2-${seed}`), seed, {
        change: changing(O_PROJ, (t) => ({ ...t, dtype: "F8_E5M2" })),
      });
    const problems = await problemsOf({
      parents: { a: e5m2(1), b: e5m2(2) },
      rules: "  - tensors: attention\n    weights: { b: 0.5 }",
    });
    assert.deepEqual(placesOf(problems), ["r.yaml:7:5 not-computable"]);
    assert.match(problems[0]!.message, /its result would be F8_E5M2|it is F8_E5M2/);
  });

  test("scales of other blocks, merged or copied: the child has the base's blocks", async () => {
    const quantization = { quant_method: "fp8", fmt: "e4m3", weight_block_size: [64, 64] };
    const b = smallParent(join(folder, "blocks"), 2, {
      config: { ...CONFIG, quantization_config: quantization },
      change: (tensors) => {
        for (const [name, each] of [...tensors]) {
          if (!name.endsWith("_scale_inv")) continue;
          const weight = tensors.get(name.replace("_scale_inv", ""));
          const [rows, cols] = weight?.shape ?? [20, 12];
          const shape = [Math.ceil(rows! / 64), Math.ceil(cols! / 64)];
          tensors.set(name, tensor(each.name, "F32", shape, { random: random(), positive: true }));
        }
      },
    });
    for (const weight of [0.5, 1]) {
      const problems = await problemsOf({
        parents: { a, b },
        rules: `  - tensors: [attention, dense-mlp]\n    weights: { b: ${weight} }`,
      });
      assert.deepEqual(
        placesOf(problems),
        ["r.yaml:4:3 block-mismatch", "r.yaml:4:3 block-mismatch"],
        `weight ${weight}`,
      );
      assert.match(problems[0]!.message, /a scale of "b" covers 64×64 elements, wanted 128×128 as in "a"/);
    }
    // What has no scale can be taken.
    await planOf({ parents: { a, b }, rules: "  - tensors: [norms, lm-head]\n    weights: { b: 0.5 }" });
  });

  test("blocks that do not fit a worker's memory", async () => {
    const shape = [5000, 5000];
    const config = {
      ...CONFIG,
      quantization_config: { quant_method: "fp8", fmt: "e4m3", weight_block_size: shape },
    };
    const large = (name: string, seed: number) =>
      smallParent(join(folder, name), seed, {
        config,
        change: (tensors) => {
          for (const each of [...tensors.keys()]) {
            if (each.includes("experts") || each.includes("o_proj") || each.includes("gate_proj"))
              tensors.delete(each);
          }
          if (!tensors.has("lm_head.weight")) return;
          tensors.set(O_PROJ, { name: O_PROJ, dtype: "F8_E4M3", shape, bytes: new Uint8Array(25e6) });
          const scale = `${O_PROJ}_scale_inv`;
          tensors.set(scale, tensor(scale, "F32", [1, 1], { random: random(), positive: true }));
        },
      });
    const parents = { a: large("large-a", 1), b: large("large-b", 2) };
    const problems = await problemsOf({ parents, rules: "  - tensors: attention\n    weights: { b: 0.5 }" });
    assert.deepEqual(placesOf(problems), ["r.yaml:7:5 block-too-large"]);
    assert.match(
      problems[0]!.message,
      /2 parents with blocks of 5000×5000 do not fit the memory of a worker/,
    );
    await planOf({ parents, rules: "  - tensors: attention\n    weights: { b: 1 }" }); // a copy has no blocks
  });

  test("weights that are all 0 in a layer of a gradient, beside other problems", async () => {
    const b = smallParent(join(folder, "zero"), 2);
    const rules = `
  - tensors: { name: "model.layers.*" }
    weights: { a: [1, 0], b: [-1, 0] }
  - tensors: { role: routed-experts, layers: 9 }
    weights: { b: 1 }`;
    assert.deepEqual(placesOf(await problemsOf({ parents: { a, b }, rules })), [
      "r.yaml:8:5 zero-weights",
      "r.yaml:10:14 empty-selection",
    ]);
  });

  test("a base without a tensor", async () => {
    const empty = join(folder, "empty");
    smallParent(empty, 1, { change: (tensors) => tensors.clear() });
    rmSync(join(empty, "model.safetensors.index.json"));
    assert.deepEqual(placesOf(await problemsOf({ parents: { a: empty } })), ["r.yaml:3:3 empty-base"]);
  });

  test("donors that have no tokenizer or no template, or files that are no JSON", async () => {
    const b = smallParent(join(folder, "no-tokenizer"), 2);
    const c = smallParent(join(folder, "broken-tokenizer"), 2, {
      files: { "tokenizer_config.json": "{ no" },
    });
    const d = smallParent(join(folder, "no-template"), 2, { files: { "tokenizer_config.json": '{"x": 1}' } });
    const kinds = async (parents: Record<string, string>, rest: string) =>
      placesOf(await problemsOf({ parents, rest }));
    assert.deepEqual(await kinds({ a, b }, "tokenizer: b\n"), ["r.yaml:4:3 missing-tokenizer"]);
    assert.deepEqual(await kinds({ a, b }, "chat_template: b\n"), ["r.yaml:4:3 missing-template"]);
    assert.deepEqual(await kinds({ a, d }, "chat_template: d\n"), ["r.yaml:4:3 missing-template"]);
    assert.deepEqual(await kinds({ a, c }, "chat_template: c\n"), ["r.yaml:4:3 tokenizer-json"]);
    assert.deepEqual(await kinds({ a, b, c }, "tokenizer: b\nchat_template: c\n"), [
      "r.yaml:4:3 missing-tokenizer",
      "r.yaml:5:3 tokenizer-json",
    ]);
  });

  test("locations of parents that the recipe does not have", async () => {
    const recipe = recipeOf({ parents: { v3: a }, base: "v3" });
    await assert.rejects(planRecipe(recipe, { locations: { v33: a, x: a } }), (error) => {
      assert.ok(error instanceof PlanError);
      assert.deepEqual(
        error.problems.map(({ code, note }) => [code, note]),
        [
          ["unknown-parent", "Did you mean v3?"],
          ["unknown-parent", undefined],
        ],
      );
      return true;
    });
  });
});

describe("planRecipe() throws a CheckpointError", () => {
  test("that names every parent that is not there, with its place", async () => {
    const gone = smallParent(join(folder, "partial"), 2);
    rmSync(join(gone, "model-00002-of-000003.safetensors"));
    const parts = {
      parents: { a, b: "/nowhere/b", c: gone, d: "/nowhere/d" },
      rules: "  - tensors: all\n    weights: { b: 0.5 }",
    };
    await assert.rejects(planRecipe(recipeOf(parts, "r.yaml")), (error) => {
      assert.ok(error instanceof CheckpointError);
      assert.equal(error.code, "missing");
      assert.match(error.message, /^Parent "b" \(r\.yaml:4:3\): Cannot open "\/nowhere\/b"/);
      assert.match(
        error.message,
        /\nParent "c" \(r\.yaml:5:3\): Cannot open "model-00002-of-000003.safetensors" of "partial"/,
      );
      assert.match(error.message, /\nParent "d" \(r\.yaml:6:3\): /);
      return true;
    });
  });

  test("for a truncated shard", async () => {
    const cut = smallParent(join(folder, "cut"), 2);
    writeFileSync(join(cut, "model-00003-of-000003.safetensors"), Buffer.alloc(5));
    await assert.rejects(
      planOf({ parents: { a: cut } }),
      (error) => error instanceof CheckpointError && error.code === "truncated",
    );
  });
});
