/**
 * Children stitched of GGUF files: equal to the GGUF of the stitched child, block for block what the recipe takes
 * from each parent, and refused where something would have to be computed.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { PlanError } from "../../src/base/errors.ts";
import { build } from "../../src/build/build.ts";
import { verify } from "../../src/build/verify.ts";
import { ggufOf } from "../../src/checkpoint/gguf-store.ts";
import { openStore } from "../../src/checkpoint/stores.ts";
import { convertToGguf, type OutputType } from "../../src/convert/convert.ts";
import { stitchGguf } from "../../src/convert/stitch.ts";
import { type DecodedType, decodeBlocks } from "../../src/gguf/blocks.ts";
import type { GgufType } from "../../src/gguf/types.ts";
import { checkpointReference } from "../../src/logical/checkpoint-weights.ts";
import type { BuildPlan } from "../../src/plan/plan.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import { writeRandomGguf } from "../gguf/random-gguf.ts";
import { readCheckpointTensors } from "../support/safetensors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const folder = temporaryFolder({ after });

function recipe(
  rules: string,
  { a, b, rest = "" }: { a: string; b: string; rest?: string },
): Promise<BuildPlan> {
  const text = `version: 1\nparents: { a: ${a}, b: ${b} }\nbase: a\nrules:\n${rules}\n${rest}`;
  return planRecipe(parseRecipe(text), { folder });
}

/** The stored bytes of every tensor of a file, with its type. */
async function bytesOf(path: string): Promise<Map<string, { type: GgufType; bytes: Buffer }>> {
  const model = await ggufOf(openStore(path))!.model();
  const files = new Map(model.files.map(({ name }) => [name, readFileSync(join(folder, name))]));
  return new Map(
    [...model.tensors.values()].map(({ name, type, file, offset, byteLength }) => [
      name,
      { type, bytes: files.get(file)!.subarray(offset, offset + byteLength) },
    ]),
  );
}

describe("a stitched GGUF equals the GGUF of the stitched child, byte for byte", () => {
  const EXPERTS = "  - tensors: routed-experts\n    weights: { b: 1 }";
  const SOME = `  - tensors: { role: routed-experts, layers: 2-3, experts: [0-3, 9] }
    weights: { b: 1 }
  - tensors: attention
    weights: { b: 1 }`;
  for (const [name, rules] of [
    ["R1T", EXPERTS],
    ["single experts and attention", SOME],
  ] as const) {
    for (const type of ["f16", "bf16", "q8_0"] as const satisfies readonly OutputType[]) {
      test(`${name} as ${type}`, async () => {
        const rest = "chat_template: b\n";
        const models = { a: join(ROOT, "models/mini-v3"), b: join(ROOT, "models/mini-r1") };
        const at = join(folder, `${name.replaceAll(" ", "-")}-${type}`);
        mkdirSync(at);
        const child = await recipe(rules, { ...models, rest });
        await build(child, join(at, "child"), { workers: 1 });
        await convertToGguf(checkpointReference(join(at, "child")), join(at, "child.gguf"), { type });
        for (const [parent, location] of Object.entries(models))
          await convertToGguf(checkpointReference(location), join(at, `${parent}.gguf`), { type });
        const plan = await recipe(rules, { a: join(at, "a.gguf"), b: join(at, "b.gguf"), rest });
        mkdirSync(join(at, "stitched"));
        await stitchGguf(plan, join(at, "stitched/child.gguf"));
        const [stitched, wanted] = ["stitched/child.gguf", "child.gguf"].map((file) =>
          readFileSync(join(at, file)),
        );
        assert.ok(stitched!.equals(wanted!));
        assert.ok(!stitched!.equals(readFileSync(join(at, "a.gguf"))));
      });
    }
  }
});

describe("blocks of quantised files", async () => {
  const kType = (name: string): GgufType =>
    name.includes("down") ? "Q6_K" : name.includes("exps") ? "Q4_K" : "Q5_K";
  await writeRandomGguf(folder, "base", { typeOf: kType, seed: 1, parts: 3, template: "base's" });
  await writeRandomGguf(folder, "donor", { typeOf: kType, seed: 2, template: "donor's" });
  // Experts of a type that is not decoded, everything else as before.
  await writeRandomGguf(folder, "other", {
    typeOf: (name) => (name.includes("exps") ? "IQ3_S" : kType(name)),
    seed: 3,
  });
  const [a, b] = ["base-00001-of-00003.gguf", "donor.gguf"] as const;
  const [base, donor, other] = await Promise.all(
    [a, b, "other.gguf"].map((file) => bytesOf(join(folder, file))),
  );

  test("a split base, a donor in one file: each tensor is one of theirs", async () => {
    const plan = await recipe("  - tensors: [routed-experts, router]\n    weights: { b: 1 }", {
      a,
      b,
      rest: "chat_template: b\n",
    });
    const path = join(folder, "child.gguf");
    const report = await stitchGguf(plan, path);
    const child = await bytesOf(path);
    assert.deepEqual([...child.keys()], [...base!.keys()]);
    let fromDonor = 0;
    for (const [name, { type, bytes }] of child) {
      const isDonors = /_exps|ffn_gate_inp|exp_probs_b/.test(name);
      const wanted = (isDonors ? donor! : base!).get(name)!;
      assert.equal(type, wanted.type, name);
      assert.ok(bytes.equals(wanted.bytes), name);
      if (isDonors) fromDonor++;
    }
    assert.equal(fromDonor, 5);
    assert.deepEqual(
      report.parents.map(({ tensors }) => tensors),
      [child.size - 5, 5],
    );
    assert.deepEqual(report.otherTypes, []);
    const { metadata } = await ggufOf(openStore(path))!.model();
    assert.equal(metadata.get("tokenizer.chat_template")!.value, "donor's");
    assert.equal(metadata.get("general.name")!.value, "child");
    assert.equal(metadata.get("quantize.made_by")!.value, "base");
    assert.ok(![...metadata.keys()].some((key) => key.startsWith("split.")));
    assert.deepEqual(
      readdirSync(folder).filter((file) => file.includes(".tmp")),
      [],
    );
  });

  test("experts of both parents in one tensor: slices are put together", async () => {
    const rules = "  - tensors: { role: routed-experts, experts: [1, 3] }\n    weights: { b: 1 }";
    const path = join(folder, "slices.gguf");
    await stitchGguf(await recipe(rules, { a, b }), path);
    const child = await bytesOf(path);
    for (const part of ["gate", "up", "down"]) {
      const name = `blk.1.ffn_${part}_exps.weight`;
      const size = child.get(name)!.bytes.length / 4;
      for (const expert of [0, 1, 2, 3]) {
        const wanted = (expert % 2 === 1 ? donor! : base!).get(name)!.bytes;
        const [from, to] = [expert * size, (expert + 1) * size];
        assert.ok(
          child.get(name)!.bytes.subarray(from, to).equals(wanted.subarray(from, to)),
          `${name} ${expert}`,
        );
      }
    }
  });

  test("a whole tensor keeps its donor's type, also one that we do not decode", async () => {
    const plan = await recipe("  - tensors: routed-experts\n    weights: { b: 1 }", { a, b: "other.gguf" });
    const path = join(folder, "types.gguf");
    const { otherTypes } = await stitchGguf(plan, path);
    assert.deepEqual(
      otherTypes,
      ["gate", "up", "down"].map((part) => `blk.1.ffn_${part}_exps.weight`),
    );
    const { type, bytes } = (await bytesOf(path)).get("blk.1.ffn_up_exps.weight")!;
    assert.equal(type, "IQ3_S");
    assert.ok(bytes.equals(other!.get("blk.1.ffn_up_exps.weight")!.bytes));
  });

  const refuses = async (rules: string, message: RegExp, parents: { a: string; b: string } = { a, b }) => {
    const path = join(folder, "never.gguf");
    await assert.rejects(stitchGguf(await recipe(rules, parents), path), (error: unknown) => {
      assert.ok(error instanceof PlanError, `${error}`);
      assert.match(error.message, message);
      return true;
    });
    assert.equal(existsSync(path), false);
  };

  test("what would be computed is refused, once for a rule", async () => {
    await refuses(
      "  - tensors: routed-experts\n    weights: { b: 0.5 }",
      /^Cannot stitch "[^"]+", by rule 1: it would be 0.5 of "a" \+ 0.5 of "b", wanted one parent with the weight 1$/,
    );
    await refuses(
      "  - tensors: routed-experts\n    weights: { b: 1 }\n    threshold: 0.01",
      /by rule 1: a threshold looks into its values/,
    );
  });

  test("experts of different types in one tensor are refused", async () => {
    const rules = "  - tensors: { role: routed-experts, experts: 1 }\n    weights: { b: 1 }";
    await refuses(
      rules,
      /"blk.1.ffn_gate_exps.weight": its experts come from several parents, and it is Q4_K in "a" and IQ3_S in "b", wanted one type/,
      { a, b: "other.gguf" },
    );
  });

  test("attention of an older file is refused, its experts are taken", async () => {
    await writeRandomGguf(folder, "old", { typeOf: kType, seed: 6, isOld: true });
    await refuses(
      "  - tensors: attention\n    weights: { b: 1 }",
      /"blk.0.attn_k_b.weight": "b" has none of this name, wanted as in the base/,
      { a, b: "old.gguf" },
    );
    const plan = await recipe("  - tensors: routed-experts\n    weights: { b: 1 }", { a, b: "old.gguf" });
    assert.ok(
      plan.warnings.some((warning) => warning.includes("n_group")),
      plan.warnings.join(),
    );
    const path = join(folder, "of-old.gguf");
    await stitchGguf(plan, path);
    const [child, old] = [await bytesOf(path), await bytesOf(join(folder, "old.gguf"))];
    assert.ok(
      child.get("blk.1.ffn_up_exps.weight")!.bytes.equals(old.get("blk.1.ffn_up_exps.weight")!.bytes),
    );
  });

  test("a parent that changed since the plan is refused", async () => {
    await writeRandomGguf(folder, "changing", { typeOf: kType, seed: 4 });
    const plan = await recipe("  - tensors: routed-experts\n    weights: { b: 1 }", {
      a,
      b: "changing.gguf",
    });
    await writeRandomGguf(folder, "changing", { typeOf: () => "Q8_0", seed: 5 });
    await assert.rejects(stitchGguf(plan, join(folder, "never.gguf")), { code: "changed" });
  });

  test("a file that is there stays as it is, unless it is to be replaced", async () => {
    const plan = await recipe("  - tensors: router\n    weights: { b: 1 }", { a, b });
    const path = join(folder, "there.gguf");
    writeFileSync(path, "mine");
    await assert.rejects(stitchGguf(plan, path), { code: "exists" });
    await assert.rejects(stitchGguf(plan, path, { force: true, signal: AbortSignal.abort() }), {
      name: "Interrupted",
    });
    assert.equal(readFileSync(path, "utf8"), "mine");
    const { bytes } = await stitchGguf(plan, path, { force: true, dryRun: true });
    assert.equal(readFileSync(path, "utf8"), "mine");
    await stitchGguf(plan, path, { force: true });
    assert.equal(readFileSync(path).length, bytes);
    assert.deepEqual(
      readdirSync(folder).filter((file) => file.includes(".tmp")),
      [],
    );
  });

  test("as parents of an ordinary child: sums of what the blocks decode to, and verify() agrees", async () => {
    const plan = await recipe("  - tensors: routed-experts\n    weights: { b: 0.25 }", { a, b });
    const at = join(folder, "decoded");
    await build(plan, at, { workers: 2 });
    assert.deepEqual((await verify(at, { all: true })).findings, []);
    const child = readCheckpointTensors(at);
    const values = (from: typeof base, name: string) => {
      const { type, bytes } = from!.get(name)!;
      return decodeBlocks(type as DecodedType, bytes);
    };
    const floats = (name: string) => {
      const { bytes, dtype } = child.get(name)!;
      return decodeBlocks(dtype as DecodedType, bytes);
    };
    assert.deepEqual(floats("model.layers.0.mlp.up_proj.weight"), values(base, "blk.0.ffn_up.weight"));
    const [ours, theirs] = [
      values(base, "blk.1.ffn_up_exps.weight"),
      values(donor, "blk.1.ffn_up_exps.weight"),
    ];
    const found = floats("model.layers.1.mlp.experts.2.up_proj.weight");
    const start = 2 * found.length;
    // As the merge is specified: products and sum in float32, in the order of the parents.
    const wanted = found.map((_, i) =>
      Math.fround(Math.fround(0.75 * ours[start + i]!) + Math.fround(0.25 * theirs[start + i]!)),
    );
    assert.deepEqual(found, wanted);
  });
});
