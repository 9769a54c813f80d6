/** Small parents, recipes and folders for tests of plans, builds and verifications. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { BuildPlan } from "../../src/plan/plan.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import type { Recipe } from "../../src/recipe/recipe.ts";
import type { Dtype } from "../../src/tensor/dtype.ts";
import { type TestShard, type TestTensor, writeCheckpoint } from "../support/safetensors.ts";

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const BYTES: Partial<Record<Dtype, number>> = { F32: 4, I64: 8, F64: 8, I32: 4, BF16: 2, F16: 2 };

export function elements(shape: readonly number[]): number {
  return shape.reduce((product, dim) => product * dim, 1);
}

/** Finite values of moderate size; scales (`positive`) are above 0. */
export function tensor(
  name: string,
  dtype: Dtype,
  shape: number[],
  { random, positive = false }: { random: () => number; positive?: boolean },
): TestTensor {
  const count = elements(shape);
  const bytes = new Uint8Array(count * (BYTES[dtype] ?? 1));
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < count; i++) {
    const value = positive ? 0.001 + random() / 64 : (random() - 0.5) / 8;
    if (dtype === "F32") view.setFloat32(4 * i, value, true);
    else if (dtype === "BF16") view.setUint16(2 * i, bf16(value), true);
    else if (dtype === "F16")
      view.setUint16(2 * i, 0x2000 + Math.floor(random() * 0x800) + (value < 0 ? 0x8000 : 0), true);
    else if (dtype === "F8_E8M0") bytes[i] = 110 + Math.floor(random() * 16);
    else if (dtype === "F8_E4M3") bytes[i] = fp8Code(random, 0x7f);
    else if (dtype === "F8_E5M2") bytes[i] = fp8Code(random, 0x7c);
    else
      for (let b = 0; b < bytes.length / count; b++)
        bytes[(bytes.length / count) * i + b] = Math.floor(random() * 256);
  }
  return { name, dtype, shape, bytes };
}

function fp8Code(random: () => number, beyond: number): number {
  return Math.floor(random() * beyond) | (random() < 0.5 ? 0x80 : 0);
}

function bf16(value: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, value);
  return view.getUint16(0);
}

/** A config that gives names their roles: one dense layer, one of two experts, one MTP layer. */
export const CONFIG: object = {
  architectures: ["DeepseekV3ForCausalLM"],
  model_type: "deepseek_v3",
  hidden_size: 8,
  vocab_size: 6,
  num_hidden_layers: 2,
  first_k_dense_replace: 1,
  n_routed_experts: 2,
  num_nextn_predict_layers: 1,
  quantization_config: {
    activation_scheme: "dynamic",
    fmt: "e4m3",
    quant_method: "fp8",
    weight_block_size: [128, 128],
  },
  torch_dtype: "bfloat16",
};

/** Ragged FP8 matrices, BF16, an F32 bias, an MTP layer; three shards; a scale far from its weight. */
export function smallShards(seed: number): TestShard[] {
  const random = randomFrom(seed);
  const fp8 = (name: string, rows: number, cols: number): [TestTensor, TestTensor] => [
    tensor(name, "F8_E4M3", [rows, cols], { random }),
    tensor(`${name}_scale_inv`, "F32", [Math.ceil(rows / 128), Math.ceil(cols / 128)], {
      random,
      positive: true,
    }),
  ];
  const bf16 = (name: string, ...shape: number[]) => tensor(name, "BF16", shape, { random });
  const up1 = fp8("model.layers.1.mlp.experts.1.up_proj.weight", 20, 12);
  return [
    {
      name: "model-00001-of-000003.safetensors",
      tensors: [
        bf16("model.embed_tokens.weight", 6, 8),
        ...fp8("model.layers.0.self_attn.o_proj.weight", 10, 130),
        ...fp8("model.layers.0.mlp.gate_proj.weight", 131, 7),
      ],
    },
    {
      name: "model-00002-of-000003.safetensors",
      tensors: [
        ...fp8("model.layers.1.mlp.experts.0.up_proj.weight", 20, 12),
        up1[0],
        bf16("model.layers.1.mlp.gate.weight", 2, 8),
        tensor("model.layers.1.mlp.gate.e_score_correction_bias", "F32", [2], { random }),
      ],
    },
    {
      name: "model-00003-of-000003.safetensors",
      tensors: [
        up1[1],
        bf16("model.layers.2.eh_proj.weight", 4, 8),
        bf16("model.norm.weight", 8),
        bf16("lm_head.weight", 6, 8),
      ],
    },
  ];
}

export type Change = (tensors: Map<string, TestTensor>) => void;

/** Writes a small parent; `change` may put other tensors in place of its own, or drop them. */
export function smallParent(
  folder: string,
  seed: number,
  {
    change,
    config = CONFIG,
    files,
  }: { change?: Change; config?: object | string; files?: Record<string, string> } = {},
): string {
  const shards = smallShards(seed).map((shard) => {
    const tensors = new Map(shard.tensors.map((each) => [each.name, { ...each }]));
    change?.(tensors);
    return { ...shard, tensors: [...tensors.values()] };
  });
  return writeCheckpoint(folder, { config, shards, ...(files ? { files } : {}) });
}

/** Changes one tensor of that name, in whichever shard it lies. */
export function changing(name: string, change: (tensor: TestTensor) => TestTensor | undefined): Change {
  return (tensors) => {
    const found = tensors.get(name);
    if (!found) return;
    const changed = change(found);
    if (changed) tensors.set(name, changed);
    else tensors.delete(name);
  };
}

/** Writes an element's bits, little-endian. */
export function poke(target: TestTensor, element: number, bits: number): TestTensor {
  const bytes = target.bytes.slice();
  const size = bytes.length / elements(target.shape);
  for (let b = 0; b < size; b++) bytes[element * size + b] = (bits >>> (8 * b)) & 0xff;
  return { ...target, bytes };
}

export interface RecipeParts {
  parents: Record<string, string>;
  base?: string;
  rules?: string;
  rest?: string;
}

/** A recipe's text; `rules` are YAML list items. */
export function recipeText({ parents, base = "a", rules = "", rest = "" }: RecipeParts): string {
  const lines = Object.entries(parents).map(([name, path]) => `  ${name}: ${JSON.stringify(path)}`);
  const list = rules === "" ? "" : `rules:\n${rules.trimEnd()}\n`;
  return `version: 1\nparents:\n${lines.join("\n")}\nbase: ${base}\n${list}${rest}`;
}

export function recipeOf(parts: RecipeParts, file?: string): Recipe {
  return parseRecipe(recipeText(parts), file ? { file } : {});
}

export function planOf(parts: RecipeParts): Promise<BuildPlan> {
  return planRecipe(recipeOf(parts));
}

/** Writes a plan for the command line. */
export function writePlan(path: string, plan: BuildPlan): string {
  writeFileSync(path, JSON.stringify(plan));
  return path;
}

/** SHA-256 of every file of a folder, hidden ones and those in folders too. */
export function hashesOf(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  return Object.fromEntries(
    names.map((path) => [
      path.slice(folder.length + 1),
      createHash("sha256").update(readFileSync(path)).digest("hex"),
    ]),
  );
}

/** Asserts that no shard lies under a final name but whole ones, as `whole` has them. */
export function assertNothingHalfWritten(folder: string, whole: Record<string, string>): void {
  for (const [name, hash] of Object.entries(hashesOf(folder))) {
    if (!name.includes("/")) assert.equal(hash, whole[name], `"${name}" is not what a whole build has`);
  }
}

export const GOLDEN: string = resolve("test/golden/assembly");

interface GoldenCase {
  name: string;
  parents: { name: string; path: string }[];
  base: string;
  rules: {
    tensors: { role: string; include_mtp: boolean }[];
    weights: Record<string, number>;
    threshold: number | null;
    measure: string;
  }[];
  outcome: {
    tensors: number;
    logical_tensors: number;
    by_origin: Record<string, number>;
    merged: string[];
    below_threshold: string[];
  };
}

export function goldenCases(): string[] {
  return readdirSync(join(GOLDEN, "cases")).sort();
}

export function goldenCase(name: string): GoldenCase {
  return JSON.parse(readFileSync(join(GOLDEN, "cases", name, "case.json"), "utf8")) as GoldenCase;
}

/** A golden case as a recipe. JSON is YAML. */
export function goldenRecipe(name: string, { maxShardSize }: { maxShardSize?: number } = {}): Recipe {
  const { parents, base, rules } = goldenCase(name);
  const text = {
    version: 1,
    parents: Object.fromEntries(parents.map(({ name, path }) => [name, join(GOLDEN, "cases", name, path)])),
    base,
    rules: rules.map(({ tensors, weights, threshold, measure }) => ({
      tensors,
      weights,
      ...(threshold === null ? {} : { threshold, measure }),
    })),
  };
  const recipe = parseRecipe(JSON.stringify(text, null, 1));
  if (maxShardSize !== undefined) recipe.output.maxShardSize = maxShardSize; // smaller than a file may say
  return recipe;
}
