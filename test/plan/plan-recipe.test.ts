import assert from "node:assert/strict";
import { cpSync, ftruncateSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { BuildPlan } from "../../src/plan/plan.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import {
  CONFIG,
  changing,
  goldenCases,
  goldenRecipe,
  planOf,
  recipeOf,
  recipeText,
  smallParent,
  smallShards,
} from "../build/support.ts";
import { readCheckpointTensors, shardBytes, type TestTensor } from "../support/safetensors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { planText } from "./plan-text.ts";
import { assertNoneUnused, assertSnapshot } from "./snapshot.ts";

const ends: (() => void)[] = [];
after(() => {
  for (const end of ends) end();
});
const folder = temporaryFolder({ after: (end) => ends.push(end) });
const [a, b, c] = ["a", "b", "c"].map((name) => join(folder, name)) as [string, string, string];
before(() => {
  smallParent(a, 1);
  smallParent(b, 2);
  smallParent(c, 3);
});

describe("planRecipe() makes the plan", () => {
  after(assertNoneUnused);

  test("copies: the routed experts of another parent", async () => {
    const plan = await planOf({
      parents: { a, b },
      rules: "  - tensors: routed-experts\n    weights: { b: 1 }",
    });
    assertSnapshot("copies", planText(plan));
  });

  test("sums: three parents, a gradient, a threshold, the last rule", async () => {
    const rules = `
  - tensors: { role: all, include_mtp: true }
    weights: { a: 0.2, b: 0.5, c: 0.3 }
  - tensors: attention
    weights: { b: [0, 0.5] }
    threshold: 0.01
    measure: relative
  - tensors: { name: "model.norm.*" }
    weights: { c: 1 }`;
    assertSnapshot("sums", planText(await planOf({ parents: { a, b, c }, rules })));
  });

  test("conversion to BF16, re-sharded", async () => {
    const recipe = recipeOf({
      parents: { a, b },
      rules: "  - tensors: router\n    weights: { b: 0.5 }",
      rest: "output: { dtype: bf16 }\n",
    });
    recipe.output.maxShardSize = 2000;
    assertSnapshot("bf16", planText(await planRecipe(recipe)));
  });

  test("conversion to FP8 of a base without scales", async () => {
    const plain = join(folder, "plain");
    const { quantization_config: _, ...config } = CONFIG as { quantization_config: unknown };
    smallParent(plain, 4, {
      config,
      change: (tensors) => {
        for (const [name, tensor] of [...tensors]) {
          if (name.endsWith("_scale_inv")) tensors.delete(name);
          else if (tensor.dtype === "F8_E4M3")
            tensors.set(name, { ...tensor, dtype: "BF16", bytes: new Uint8Array(tensor.bytes.length * 2) });
        }
      },
    });
    const plan = await planOf({ parents: { a: plain }, rest: "output: { dtype: f8_e4m3 }\n" });
    assertSnapshot("fp8", planText(plan));
  });
});

describe("a plan", () => {
  const RULES = "  - tensors: all\n    weights: { b: 0.5 }";

  test("accounts for every tensor of every parent exactly once", async () => {
    const plans: [string, Promise<BuildPlan>][] = [
      ...goldenCases().map((name): [string, Promise<BuildPlan>] => [name, planRecipe(goldenRecipe(name))]),
      ["blend", planOf({ parents: { a, b, c }, rules: RULES })],
      ["bf16", planOf({ parents: { a, b }, rules: RULES, rest: "output: { dtype: bf16 }\n" })],
    ];
    for (const [name, planned] of plans) {
      const plan = await planned;
      for (const [index, { parent, copied, merged, leftOut }] of plan.accounts.entries()) {
        const names = [...readCheckpointTensors(plan.parents[index]!.location).keys()];
        const left = leftOut.flatMap(({ tensors }) => tensors);
        assert.equal(copied + merged + left.length, names.length, `${name}: ${parent}`);
        assert.equal(new Set(left).size, left.length);
        assert.ok(left.every((each) => names.includes(each)));
      }
      const { copied, merged, all } = plan.totals.tensors;
      assert.equal(copied + merged, all);
    }
  });

  test("counts a scale under another name, and one that a BF16 child only reads, as used", async () => {
    const sibling = join(folder, "sibling");
    smallParent(sibling, 2, {
      change: (tensors) => {
        for (const [name, tensor] of [...tensors]) {
          if (!name.endsWith("_scale_inv")) continue;
          tensors.delete(name);
          const other = name.replace("weight_scale_inv", "scale");
          tensors.set(other, { ...tensor, name: other });
        }
      },
    });
    const plan = await planOf({
      parents: { a, b: sibling },
      rules: "  - tensors: routed-experts\n    weights: { b: 1 }",
    });
    assert.deepEqual(
      plan.accounts.map(({ copied, merged, leftOut }) => [
        copied,
        merged,
        leftOut.map(({ reason, tensors }) => [reason, tensors.length]),
      ]),
      [
        [10, 0, [['copied from "b"', 4]]],
        [4, 0, [["no rule takes it: the base's bytes are copied", 10]]],
      ],
    );
    const bf16 = await planOf({ parents: { a }, rest: "output: { dtype: bf16 }\n" });
    assert.deepEqual(bf16.accounts[0], { parent: "a", copied: 6, merged: 8, leftOut: [] });
  });

  test("reads no tensor data: it is the same where all data are NaN", async () => {
    const blank = join(folder, "blank");
    const blanked = ({ bytes, ...rest }: TestTensor): TestTensor => ({
      ...rest,
      bytes: new Uint8Array(bytes.length).fill(0xff),
    });
    smallParent(blank, 2, {
      change: (tensors) => {
        for (const [name, tensor] of [...tensors]) tensors.set(name, blanked(tensor));
      },
    });
    const real = await planOf({ parents: { a, b }, rules: RULES });
    const empty = await planRecipe(recipeOf({ parents: { a, b }, rules: RULES }), {
      locations: { b: blank },
    });
    assert.equal(empty.digest, real.digest);
  });

  test("of a terabyte takes no time", async () => {
    const vast = join(folder, "vast");
    smallParent(vast, 1);
    const shape = [1 << 20, 1 << 19]; // 2^40 bytes in BF16
    const header = shardBytes([{ name: "vast.weight", dtype: "BF16", shape, bytes: new Uint8Array(0) }]);
    const text = Buffer.from(header)
      .toString("latin1")
      .replace("[0,0]", `[0,${2 ** 40}]`)
      .slice(8)
      .trimEnd();
    const padded = text.padEnd(Math.ceil(text.length / 8) * 8);
    const fd = openSync(join(vast, "model-00003-of-000003.safetensors"), "w");
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(padded.length));
    writeSync(fd, Buffer.concat([length, Buffer.from(padded, "latin1")]));
    ftruncateSync(fd, 8 + padded.length + 2 ** 40);
    const shards = smallShards(1).slice(0, 2);
    const map = Object.fromEntries(
      shards.flatMap(({ name, tensors }) =>
        tensors.filter((t) => !t.name.includes("experts.1")).map((t) => [t.name, name]),
      ),
    );
    writeFileSync(
      join(vast, "model-00002-of-000003.safetensors"),
      shardBytes(shards[1]!.tensors.filter((t) => !t.name.includes("experts.1"))),
    );
    map["vast.weight"] = "model-00003-of-000003.safetensors";
    writeFileSync(join(vast, "model.safetensors.index.json"), JSON.stringify({ weight_map: map }));
    const plan = await planOf({ parents: { a: vast } });
    assert.ok(plan.totals.readBytes[0]! > 2 ** 40);
    const last = plan.shards[2]!;
    assert.equal(last.byteLength, last.dataStart + 2 ** 40);
  });

  test("has a digest that does not depend on where the parents lie", async () => {
    const moved = join(folder, "moved");
    for (const name of ["a", "b"]) cpSync(join(folder, name), join(moved, name), { recursive: true });
    const here = await planOf({ parents: { a, b }, rules: RULES });
    const there = await planOf({ parents: { a: join(moved, "a"), b: join(moved, "b") }, rules: RULES });
    assert.equal(there.digest, here.digest);
    assert.notEqual(there.parents[0]!.location, here.parents[0]!.location);
  });

  test("has another digest for another weight, threshold, dtype, order of parents or size", async () => {
    const digests = new Set<string>();
    const parts = [
      { parents: { a, b }, rules: RULES },
      { parents: { b, a }, rules: RULES },
      { parents: { a, b }, rules: RULES.replace("0.5", "0.25") },
      { parents: { a, b }, rules: `${RULES}\n    threshold: 0.1` },
      { parents: { a, b }, rules: `${RULES}\n    threshold: 0.1\n    measure: relative` },
      { parents: { a, b }, rules: RULES, rest: "output: { dtype: bf16 }\n" },
      { parents: { a, b }, rules: RULES, rest: "output: { max_shard_size: 5MB }\n" },
      { parents: { a, b: c }, rules: RULES, base: "b" },
    ];
    for (const part of parts) digests.add((await planOf(part)).digest);
    assert.equal(digests.size, parts.length);
  });

  test("takes relative parents from the recipe's folder, or from the one it is given", async () => {
    const text = recipeText({ parents: { a: "a", b: "./b" }, rules: RULES });
    const inFile = await planRecipe(parseRecipe(text, { file: join(folder, "r.yaml") }));
    const given = await planRecipe(parseRecipe(text), { folder });
    for (const plan of [inFile, given])
      assert.deepEqual(
        plan.parents.map(({ location }) => location),
        [a, b],
      );
  });

  test("runs a gradient over the layers that its rule selects, also where a later rule takes them", async () => {
    const rules = `
  - tensors: { name: "model.layers.*" }
    weights: { b: [0, 1] }
  - tensors: { name: "model.layers.2.*" }
    weights: { c: 0.25 }`;
    const plan = await planOf({ parents: { a, b, c }, rules });
    const weights = (layer: number) =>
      new Set(
        plan.merges
          .filter(({ name }) => name.includes(`layers.${layer}.`))
          .map(({ inputs }) => JSON.stringify(inputs.map(({ weight }) => weight))),
      );
    // Layers 0, 1, 2 are selected: 0, a half, 1; the last is then the second rule's.
    assert.deepEqual(
      [weights(0), weights(1), weights(2)],
      [new Set(), new Set(["[0.5,0.5]"]), new Set(["[0.75,0.25]"])],
    );
  });

  test("warns of blended routers, unused parents and differing configs", async () => {
    const other = smallParent(join(folder, "other-config"), 2, { config: { ...CONFIG, rope_theta: 5 } });
    const plan = await planOf({
      parents: { a, b: other, c },
      rules: "  - tensors: router\n    weights: { b: 0.5 }",
    });
    assert.equal(plan.warnings.length, 3);
    assert.match(plan.warnings[0]!, /^config.json of "b": rope_theta is 5/);
    assert.match(plan.warnings[1]!, /^parent "c" is not used/);
    assert.match(plan.warnings[2]!, /^rule 1 blends routers/);
  });

  test("warns of tensors that the base lacks and a parent that is used has", async () => {
    const poor = smallParent(join(folder, "poor"), 1, {
      change: changing("lm_head.weight", () => undefined),
    });
    const rules = "  - tensors: router\n    weights: { b: 1 }";
    const plan = await planOf({ parents: { a: poor, b: c }, rules });
    const lacks = '"a" lacks 1 of the tensors of "b", as "lm_head.weight": the child will not have them';
    assert.ok(plan.warnings.includes(lacks), plan.warnings.join("\n"));
    assert.deepEqual((await planOf({ parents: { a: poor, b: poor }, rules })).warnings, []);
  });
});

describe("the layout", () => {
  test("keeps the base's shards, entries of __metadata__ and order; says format pt", async () => {
    const tagged = join(folder, "tagged");
    smallParent(tagged, 1);
    const [first] = smallShards(1);
    writeFileSync(join(tagged, first!.name), shardBytes(first!.tensors, { note: "x", format: "np" }));
    const plan = await planOf({ parents: { a: tagged } });
    assert.deepEqual(
      plan.shards.map(({ metadata }) => metadata),
      [
        [
          ["note", "x"],
          ["format", "pt"],
        ],
        [["format", "pt"]],
        [["format", "pt"]],
      ],
    );
    for (const [index, { name, tensors }] of smallShards(1).entries()) {
      assert.equal(plan.shards[index]!.name, name);
      assert.deepEqual(
        plan.shards[index]!.tensors.map((tensor) => tensor.name),
        tensors.map((tensor) => tensor.name),
      );
    }
  });

  test("puts the scale of a converted E5M2 weight where the base has it, under its name", async () => {
    const e5m2 = join(folder, "e5m2");
    smallParent(e5m2, 1, {
      change: (tensors) => {
        for (const [name, tensor] of [...tensors]) {
          if (tensor.dtype === "F8_E4M3") tensors.set(name, { ...tensor, dtype: "F8_E5M2" });
          if (!name.endsWith("_scale_inv")) continue;
          tensors.delete(name);
          const other = name.replace("weight_scale_inv", "scale");
          tensors.set(other, { ...tensor, name: other });
        }
      },
    });
    const plan = await planOf({ parents: { a: e5m2 }, rest: "output: { dtype: f8_e4m3 }\n" });
    const base = readCheckpointTensors(e5m2);
    const names = plan.shards.flatMap(({ tensors }) => tensors.map(({ name }) => name));
    assert.deepEqual(names.sort(), [...base.keys()].sort());
  });

  test("packs by size: a weight and its scale together, no shard above the limit but for a single tensor", async () => {
    for (const limit of [1, 300, 1000, 3000, 1e9]) {
      const recipe = recipeOf({ parents: { a } });
      recipe.output.maxShardSize = limit;
      const { shards } = await planRecipe(recipe);
      assert.deepEqual(
        shards.map(({ name }) => name),
        shards.map(
          (_, i) =>
            `model-${String(i + 1).padStart(5, "0")}-of-${String(shards.length).padStart(5, "0")}.safetensors`,
        ),
      );
      for (const { tensors } of shards) {
        const bytes = tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
        const logical = tensors.filter(({ part }) => part !== "scale").length;
        assert.ok(bytes <= limit || logical === 1, `${bytes} bytes in ${logical} tensors for ${limit}`);
        for (const [i, { name, part }] of tensors.entries()) {
          if (part === "weight") assert.equal(tensors[i + 1]!.name, `${name}_scale_inv`);
        }
      }
    }
  });
});
