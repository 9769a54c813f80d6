/** Random parents and recipes: the child equals the reference (reference.ts) byte for byte. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { build } from "../../src/build/build.ts";
import { verify } from "../../src/build/verify.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import type { Dtype } from "../../src/tensor/dtype.ts";
import {
  readCheckpointTensors,
  readShardTensors,
  type TestShard,
  type TestTensor,
  writeCheckpoint,
} from "../support/safetensors.ts";
import { type ReferenceChild, type ReferenceRule, referenceChild } from "./reference.ts";
import { CONFIG, randomFrom, tensor } from "./support.ts";

const NUM_LAYERS = 3; // and an MTP layer behind them
const PARENTS = ["a", "b", "c", "d"];

/** Kinds of tensors: name, dimensions, whether output f8_e4m3 quantises them, their role. */
const KINDS = {
  expert: {
    name: (l: number, e: number) => `model.layers.${l}.mlp.experts.${e}.up_proj.weight`,
    dims: 2,
    fp8: true,
    role: "routed-experts",
  },
  attention: {
    name: (l: number) => `model.layers.${l}.self_attn.o_proj.weight`,
    dims: 2,
    fp8: true,
    role: "attention",
  },
  innerNorm: {
    name: (l: number) => `model.layers.${l}.self_attn.q_a_layernorm.weight`,
    dims: 1,
    fp8: false,
    role: "attention",
  },
  fused: {
    name: (l: number) => `model.layers.${l}.mlp.experts.gate_up_proj`,
    dims: 3,
    fp8: false,
    role: "routed-experts",
  },
  bias: {
    name: (l: number) => `model.layers.${l}.mlp.gate.e_score_correction_bias`,
    dims: 1,
    fp8: false,
    role: "router",
  },
  embedding: { name: () => "model.embed_tokens.weight", dims: 2, fp8: false, role: "embeddings" },
  scalar: { name: (l: number) => `extra.scalar${l}`, dims: 0, fp8: false, role: "other" },
  integer: { name: (l: number) => `extra.integer${l}`, dims: 1, fp8: false, role: "other" },
} as const;
type Kind = keyof typeof KINDS;

const FORMS = ["F8+F32", "F8+BF16", "F8+E8M0", "E5M2+F32", "BF16", "F16", "F32"] as const;
type Form = (typeof FORMS)[number];

// Edges lie at 1 and around the blocks' sizes.
const side = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 40 }) },
  { weight: 3, arbitrary: fc.constantFrom(127, 128, 129, 255, 256, 257) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 300 }) },
  { weight: 1, arbitrary: fc.constant(0) },
);
const tensorSpec = fc.record({
  kind: fc.constantFrom(...(Object.keys(KINDS) as Kind[])),
  layer: fc.integer({ min: 0, max: NUM_LAYERS }),
  expert: fc.integer({ min: 0, max: 1 }),
  sides: fc.tuple(side, side),
  matrices: fc.integer({ min: 1, max: 3 }),
  forms: fc.array(fc.constantFrom(...FORMS), { minLength: 4, maxLength: 4 }),
  sibling: fc.boolean(),
  /** Which parents hold the base's bytes: all of them, the second, or none. */
  equal: fc.constantFrom("all", "one", "none", "none", "none"),
});
const lambda = fc.constantFrom(0, 1, 0.5, 0.3, 0.7, -0.4, 1.7, 0.25, 0.999999999);
const ruleSpec = fc.record({
  of: fc.nat(),
  by: fc.constantFrom("role", "role-mtp", "name", "all"),
  weights: fc.array(fc.option(lambda, { nil: undefined }), { minLength: 4, maxLength: 4 }),
  gradient: fc.option(fc.array(fc.constantFrom(0, 0.25, 0.6, 1), { minLength: 1, maxLength: 3 }), {
    nil: undefined,
  }),
  threshold: fc.constantFrom(undefined, undefined, 0, 0.01, 0.05, 1),
  measure: fc.constantFrom("rms", "relative"),
});
const childSpec = fc.record({
  seed: fc.integer(),
  numParents: fc.integer({ min: 1, max: 4 }),
  base: fc.nat(),
  // Many to a child: what takes time is the threads of a build, not its tensors.
  tensors: fc.array(tensorSpec, { minLength: 1, maxLength: 16, size: "max" }),
  rules: fc.array(ruleSpec, { maxLength: 5 }),
  dtype: fc.constantFrom("as-base", "as-base", "f8_e4m3", "bf16", "f16", "f32"),
  shardBytes: fc.option(fc.integer({ min: 500, max: 50_000 }), { nil: undefined }),
  block: fc.constantFrom([128, 128], [128, 128], [16, 32], [1, 128], [64, 300]),
  scaleFormat: fc.constantFrom("float", "ue8m0"),
  kernels: fc.constantFrom("wasm", "wasm", "scalar"),
  workers: fc.integer({ min: 1, max: 2 }),
});
type ChildSpec = typeof childSpec extends fc.Arbitrary<infer T> ? T : never;
type TensorSpec = ChildSpec["tensors"][number];

const nameOf = ({ kind, layer, expert }: TensorSpec) => KINDS[kind].name(layer, expert);

/** Tensors of different names. Where a kind has no layers, the first one stands. */
function distinct(specs: readonly TensorSpec[]): TensorSpec[] {
  return [...new Map(specs.toReversed().map((spec) => [nameOf(spec), spec])).values()].reverse();
}

function shapeOf({ kind, sides, matrices }: TensorSpec): number[] {
  const { dims } = KINDS[kind];
  if (dims === 3) return [matrices, ...sides.map((n) => Math.min(n, 140))];
  return dims === 2 ? [...sides] : dims === 1 ? [sides[0]] : [];
}

/** What a parent stores the tensor as; the base only what its child's dtype can come from. */
function formOf(spec: TensorSpec, parent: number, { base, numParents, dtype }: ChildSpec): Form {
  const { dims, fp8 } = KINDS[spec.kind];
  if (spec.kind === "bias") return "F32";
  const form = spec.forms[parent]!;
  if (dims < 2) return form.includes("+") ? "BF16" : form;
  const cannotMerge =
    form === "E5M2+F32" &&
    parent === base % numParents &&
    (dtype === "as-base" || (dtype === "f8_e4m3" && !fp8));
  return cannotMerge ? "F8+F32" : form;
}

function makeParent(parent: number, spec: ChildSpec): TestShard[] {
  const random = randomFrom(spec.seed + 1000 * parent);
  const base = spec.base % spec.numParents;
  const tensors: TestTensor[] = [];
  for (const [index, each] of distinct(spec.tensors).entries()) {
    const [name, shape] = [nameOf(each), shapeOf(each)];
    const isEqual = each.equal === "all" || (each.equal === "one" && parent === (base + 1) % spec.numParents);
    const form = formOf(each, isEqual ? base : parent, spec);
    const own = randomFrom(spec.seed + index + (isEqual ? 0 : 100 * (parent + 1)));
    if (each.kind === "integer") {
      tensors.push(tensor(name, "I64", shape, { random: own }));
      continue;
    }
    const [dtype, scale] = form.split("+") as [string, string | undefined];
    const stored = { F8: "F8_E4M3", E5M2: "F8_E5M2" }[dtype] ?? dtype;
    tensors.push(tensor(name, stored as Dtype, shape, { random: own }));
    if (!scale) continue;
    const [rows, cols] = spec.block as [number, number];
    const scaleShape = [
      ...shape.slice(0, -2),
      Math.ceil(shape.at(-2)! / rows),
      Math.ceil(shape.at(-1)! / cols),
    ];
    const isSibling = each.sibling && name.endsWith(".weight");
    const scaleName = isSibling ? name.replace(/weight$/, "scale") : `${name}_scale_inv`;
    const scaleDtype = scale === "E8M0" ? "F8_E8M0" : (scale as Dtype);
    tensors.push(tensor(scaleName, scaleDtype, scaleShape, { random: own, positive: true }));
  }
  // A weight and its scale may come in any order, in any shards.
  const shards: TestShard[] = [1, 2, 3].map((n) => ({ name: `part-${n}.safetensors`, tensors: [] }));
  for (const each of tensors) {
    const into = shards[Math.floor(random() * 3)]!.tensors as TestTensor[];
    into.splice(Math.floor(random() * (into.length + 1)), 0, each);
  }
  return shards.filter((shard) => shard.tensors.length > 0);
}

interface MadeRule {
  yaml: object;
  reference: ReferenceRule;
}

function makeRule(
  rule: ChildSpec["rules"][number],
  spec: ChildSpec,
  tensors: readonly TensorSpec[],
): MadeRule {
  const target = tensors[rule.of % tensors.length]!;
  const { role } = KINDS[target.kind];
  const by = rule.by.startsWith("role") && role === "other" ? "name" : rule.by;
  // A role takes the MTP layer only when told to; here the rule must select its tensor.
  const includesMtp = by === "role-mtp" || target.layer === NUM_LAYERS;
  const selects = (name: string) => {
    const each = tensors.find((one) => nameOf(one) === name)!;
    if (by === "all") return true;
    if (by === "name") return name === nameOf(target);
    const isMtp = /^model\.layers\.3\./.test(name);
    return KINDS[each.kind].role === role && (!isMtp || includesMtp);
  };
  const selector = { all: "all", name: { name: nameOf(target) }, role: { role, include_mtp: includesMtp } };
  const base = spec.base % spec.numParents;
  const layers = [...new Set(tensors.filter((t) => selects(nameOf(t))).map(({ layer }) => layer))].sort(
    (x, y) => x - y,
  );
  const isInLayers = /^(routed-experts|attention|router)$/.test(role) && by !== "all" && by !== "name";
  const gradient = spec.numParents > 1 && isInLayers ? rule.gradient : undefined;

  const weights: Record<string, number | number[]> = {};
  for (const [index, weight] of rule.weights.slice(0, spec.numParents).entries()) {
    if (weight !== undefined && !(gradient && index === base)) weights[PARENTS[index]!] = weight;
  }
  if (gradient) weights[PARENTS[(base + 1) % spec.numParents]!] = gradient;
  const lambdas = (name: string): number[] => {
    const layer = tensors.find((one) => nameOf(one) === name)!.layer;
    const value = (entry: number | number[]) =>
      Array.isArray(entry) ? along(entry, layers.indexOf(layer), layers.length) : entry;
    const given = PARENTS.slice(0, spec.numParents).map((parent) => value(weights[parent] ?? 0));
    const others = given.reduce((sum, weight, index) => (index === base ? sum : sum + weight), 0);
    const rest = 1 - others;
    if (weights[PARENTS[base]!] === undefined) given[base] = Math.abs(rest) < 1e-12 ? 0 : rest;
    return given;
  };
  const sum = gradient ? 1 : lambdas(nameOf(target)).reduce((total, weight) => total + weight, 0);
  if (Math.abs(sum) < 1e-8 || Object.keys(weights).length === 0) weights[PARENTS[base]!] = 1;
  const usesOther = PARENTS.slice(0, spec.numParents).some(
    (parent, index) => index !== base && [weights[parent] ?? 0].flat().some((w) => w !== 0),
  );
  const threshold = usesOther && rule.threshold !== undefined ? { threshold: rule.threshold } : {};
  return {
    yaml: {
      tensors: selector[by === "role-mtp" ? "role" : by],
      weights,
      ...threshold,
      measure: rule.measure,
    },
    reference: { selects, weights: lambdas, measure: rule.measure as "rms" | "relative", ...threshold },
  };
}

/** A gradient by merge-methods.md section 7.2. */
function along(list: readonly number[], index: number, count: number): number {
  const position = count === 1 ? list.length - 1 : (index * (list.length - 1)) / (count - 1);
  const [floor, rest] = [Math.floor(position), position % 1];
  const [low, high] = [list[floor]!, list[Math.min(list.length - 1, floor + 1)]!];
  return low === high ? low : (1 - rest) * low + rest * high;
}

async function checkChild(given: ChildSpec): Promise<void> {
  const spec = given.rules.length === 0 ? { ...given, numParents: 1 } : given;
  const folder = mkdtempSync(join(tmpdir(), "chimera-random-"));
  try {
    const tensors = distinct(spec.tensors);
    const names = PARENTS.slice(0, spec.numParents);
    const base = spec.base % spec.numParents;
    const quantization = {
      quant_method: "fp8",
      fmt: "e4m3",
      weight_block_size: spec.block,
      scale_fmt: spec.scaleFormat,
    };
    const config = { ...CONFIG, num_hidden_layers: NUM_LAYERS, quantization_config: quantization };
    const shards = names.map((_, parent) => makeParent(parent, spec));
    for (const [parent, name] of names.entries())
      writeCheckpoint(join(folder, name), { config, shards: shards[parent]! });
    const rules = spec.rules.map((rule) => makeRule(rule, spec, tensors));
    if (rules.length > 0 && tensors.some(({ kind }) => kind === "integer")) {
      // Integers are copied or nothing: a last rule takes them out of the others.
      const weights = names.map((_, index) => (index === base ? 1 : 0));
      rules.push({
        yaml: { tensors: { name: "extra.integer*" }, weights: { [names[base]!]: 1 } },
        reference: {
          selects: (name) => name.startsWith("extra.integer"),
          weights: () => weights,
          measure: "rms",
        },
      });
    }
    const recipe = parseRecipe(
      JSON.stringify({
        version: 1,
        parents: Object.fromEntries(names.map((name) => [name, join(folder, name)])),
        base: names[base],
        ...(rules.length > 0 ? { rules: rules.map(({ yaml }) => yaml) } : {}),
        output: { dtype: spec.dtype },
      }),
    );
    if (spec.shardBytes) recipe.output.maxShardSize = spec.shardBytes;
    const plan = await planRecipe(recipe);
    const child = join(folder, "child");
    await build(plan, child, { workers: spec.workers, kernels: spec.kernels as "wasm" | "scalar" });

    const parents = shards.map(
      (each) => new Map(each.flatMap((shard) => shard.tensors.map((t) => [t.name, t] as const))),
    );
    const expected = referenceChild({
      parents,
      base,
      rules: rules.map(({ reference }) => reference),
      dtype: spec.dtype as ReferenceChild["dtype"],
      block: { rows: spec.block[0]!, cols: spec.block[1]! },
      powerOfTwo: spec.scaleFormat === "ue8m0",
      quantizable: (name) => /\.(experts\.\d+\.up_proj|o_proj)\.weight$/.test(name),
      keepsF32: (name) => name.endsWith("e_score_correction_bias"),
    });
    const actual = readCheckpointTensors(child);
    assert.deepEqual([...actual.keys()].sort(), [...expected.keys()].sort());
    for (const [name, { dtype, shape, bytes }] of expected) {
      const found = actual.get(name)!;
      assert.deepEqual({ name, dtype: found.dtype, shape: found.shape }, { name, dtype, shape });
      assert.equal(Buffer.compare(found.bytes, bytes), 0, `bytes of ${name} (${dtype}) differ`);
    }
    checkIndex(child, shards[base]!, spec.shardBytes !== undefined);
    // Sizes below 1 MB stand in no recipe, so a child of them cannot be planned again.
    if (spec.shardBytes === undefined) assert.deepEqual((await verify(child, { all: true })).findings, []);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Every tensor lies where the index says, which is where the base has it unless sizes were given. */
function checkIndex(child: string, baseShards: readonly TestShard[], isResharded: boolean): void {
  const index = JSON.parse(readFileSync(join(child, "model.safetensors.index.json"), "utf8"));
  let total = 0;
  const map = new Map(Object.entries(index.weight_map as Record<string, string>));
  for (const file of new Set(map.values())) {
    for (const [name, { bytes }] of readShardTensors(readFileSync(join(child, file)))) {
      assert.equal(map.get(name), file);
      total += bytes.length;
    }
  }
  assert.equal(index.metadata.total_size, total);
  if (isResharded) return;
  for (const { name: file, tensors } of baseShards) {
    for (const { name } of tensors) if (map.has(name)) assert.equal(map.get(name), file);
  }
}

test("build() equals the reference on random parents and recipes, exact", async () => {
  await fc.assert(fc.asyncProperty(childSpec, checkChild), { seed: 7, numRuns: 60 });
});
