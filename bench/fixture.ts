/**
 * Parents, plans and children for the benchmarks: DeepSeek-V3's shapes with fewer layers, heads and experts,
 * so that the routed experts have about their share of the bytes (95 % there, 90 % here) in a few GB.
 */
import assert from "node:assert/strict";
import { closeSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { taskOf } from "../src/build/build.ts";
import type { DirectOptions } from "../src/build/direct.ts";
import { runPool } from "../src/build/pool.ts";
import { openOutput } from "../src/checkpoint/stores.ts";
import { scratchBytes } from "../src/kernels/kernels.ts";
import { createScalarKernels } from "../src/kernels/scalar.ts";
import { Heap } from "../src/logical/heap.ts";
import type { BuildPlan, PlanMerge, PlanOperand } from "../src/plan/plan.ts";
import { planRecipe } from "../src/plan/plan-recipe.ts";
import { parseRecipe } from "../src/recipe/parse.ts";
import { configTextOf, wideConfig } from "./parents/config.ts";
import type { LayoutOptions } from "./parents/layout.ts";
import { writeParent } from "./parents/write.ts";

const NUM_SHARDS = 4;

export interface Parents {
  v3: string;
  r1: string;
  /** Bytes of one parent's shards. */
  fileBytes: number;
}

/** Two filled parents of different seeds below a folder. */
export function makeParents(folder: string, numExperts: number, order: LayoutOptions["order"]): Parents {
  const text = configTextOf(wideConfig(numExperts));
  // Experts of 44 MB and some 220 MB of the rest, in shards of even size.
  const shardBytes = Math.floor((numExperts * 44.05e6 + 222e6) / NUM_SHARDS);
  const make = (name: string, seed: number) =>
    writeParent(join(folder, name), { configText: text, seed, shardBytes, ...(order ? { order } : {}) });
  const { fileBytes } = make("v3", 1);
  make("r1", 2);
  return { v3: join(folder, "v3"), r1: join(folder, "r1"), fileBytes };
}

/** The plan of R1T, with routed experts at a share of R1: 1 copies, anything else merges. */
export function planFor({ v3, r1 }: Parents, share: number): Promise<BuildPlan> {
  const text = [
    "version: 1",
    `parents: { v3: ${JSON.stringify(v3)}, r1: ${JSON.stringify(r1)} }`,
    "base: v3",
    "rules:",
    "  - tensors: routed-experts",
    `    weights: { r1: ${share} }`,
    "",
  ].join("\n");
  return planRecipe(parseRecipe(text, { file: "bench.yaml" }));
}

export interface BuildSettings {
  hash: boolean;
  workers: number;
  /** Past the system's cache. */
  direct?: DirectOptions;
}

/** Builds all shards, and nothing else of the child: the work of build() that grows with the checkpoint. */
export async function buildShards(
  plan: BuildPlan,
  folder: string,
  { hash, workers, direct }: BuildSettings,
): Promise<void> {
  await openOutput(folder).prepare();
  const { parents, output, digest } = plan;
  await runPool(
    plan.shards.map((shard) => taskOf(plan, shard)),
    {
      setup: { parents, output, planDigest: digest, location: folder, kernels: "wasm", hash, direct },
      workers,
      onBytes: () => {},
      onRecord: () => {},
    },
  );
}

/** Elements that a plan computes, and bytes that it writes. */
export function mergedElements({ merges }: BuildPlan): number {
  return merges.reduce((sum, { shape }) => sum + shape.reduce((product, dim) => product * dim, 1), 0);
}

/**
 * Compares a child with its parents: both ends of every copied tensor, and the last band of some merges
 * computed by the scalar reference.
 */
export function checkChild(plan: BuildPlan, folder: string): void {
  const merges = plan.merges.length;
  const sample = new Set([0, Math.floor(merges / 3), merges - 1]);
  for (const { name: shard, tensors } of plan.shards) {
    for (const tensor of tensors) {
      const { action } = tensor;
      if (action.kind === "copy") {
        const from = join(plan.parents[action.parent]!.location, action.shard);
        for (const at of [0, Math.max(0, tensor.byteLength - 4096)]) {
          const length = Math.min(4096, tensor.byteLength - at);
          const expected = bytesOf(from, action.offset + at, length);
          assert.ok(
            bytesOf(join(folder, shard), tensor.offset + at, length).equals(expected),
            `${tensor.name} was not copied`,
          );
        }
      } else if (tensor.part === "weight" && sample.has(action.merge)) {
        const { offset, expected } = lastBand(plan, plan.merges[action.merge]!);
        const found = bytesOf(join(folder, shard), tensor.offset + offset, expected.length);
        assert.ok(found.equals(expected), `${tensor.name} differs from the scalar reference`);
      }
    }
  }
}

function lastBand(plan: BuildPlan, { shape, inputs }: PlanMerge): { offset: number; expected: Buffer } {
  const [numRows, cols] = shape as [number, number];
  const rows = 128;
  const offset = (numRows - rows) * cols;
  const blocks = Math.ceil(cols / 128);
  const scalar = createScalarKernels(32 << 20);
  const heap = new Heap(scalar.bytes.length);
  const load = (operand: Pick<PlanOperand, "parent" | "shard">, at: number, length: number): number => {
    const to = heap.allocate(length);
    scalar.bytes.set(bytesOf(join(plan.parents[operand.parent]!.location, operand.shard), at, length), to);
    return to;
  };
  const out = heap.allocate(rows * cols);
  const done = scalar.mergeBand({
    rows,
    cols,
    blockCols: 128,
    inputs: inputs.map((input) => ({
      dtype: "F8_E4M3",
      data: load(input, input.offset + offset, rows * cols),
      rowBytes: cols,
      scales: load(
        { ...input, ...input.scale! },
        input.scale!.offset + (numRows / 128 - 1) * 4 * blocks,
        4 * blocks,
      ),
      weight: input.weight,
    })),
    output: {
      dtype: "F8_E4M3",
      data: out,
      rowBytes: cols,
      scales: heap.allocate(4 * blocks),
      powerOfTwo: false,
    },
    scratch: heap.allocate(scratchBytes(cols, 128, inputs.length)),
  });
  assert.ok(done);
  return { offset, expected: Buffer.from(scalar.bytes.slice(out, out + rows * cols)) };
}

function bytesOf(path: string, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  const fd = openSync(path, "r");
  try {
    assert.equal(readSync(fd, bytes, 0, length, offset), length);
  } finally {
    closeSync(fd);
  }
  return bytes;
}
