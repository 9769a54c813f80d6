/** mergeTensor() on tensors in memory, against the reference of the whole build. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { BuildError, CheckpointError } from "../../src/base/errors.ts";
import { createKernels } from "../../src/kernels/probe.ts";
import { HEAP_BYTES, Heap } from "../../src/logical/heap.ts";
import { type MergeResultType, mergeTensor } from "../../src/logical/merge.ts";
import { type Operand, readScales } from "../../src/logical/operand.ts";
import { cut } from "../../src/logical/pieces.ts";
import type { Dtype } from "../../src/tensor/dtype.ts";
import { referenceChild } from "../build/reference.ts";
import { poke, randomFrom, tensor } from "../build/support.ts";
import type { TestTensor } from "../support/safetensors.ts";
import { jitter, operandOf } from "./memory-source.ts";

const BLOCK = { rows: 128, cols: 128 };
const KERNELS = { wasm: createKernels(HEAP_BYTES, "wasm"), scalar: createKernels(HEAP_BYTES, "scalar") };

interface Parent {
  weight: TestTensor;
  scale?: TestTensor;
}

function parent(seed: number, dtype: Dtype, shape: number[], scaleDtype?: Dtype): Parent {
  const random = randomFrom(seed);
  const weight = tensor("w", dtype, shape, { random });
  if (!scaleDtype) return { weight };
  const scaleShape = [...shape.slice(0, -2), Math.ceil(shape.at(-2)! / 128), Math.ceil(shape.at(-1)! / 128)];
  return { weight, scale: tensor("w_scale_inv", scaleDtype, scaleShape, { random, positive: true }) };
}

interface Merged {
  bytes: Uint8Array;
  scales: Float32Array | undefined;
}

async function merge(
  parents: readonly Parent[],
  weights: readonly number[],
  {
    dtype,
    kernels = "wasm",
    seed,
  }: { dtype: MergeResultType["dtype"]; kernels?: "wasm" | "scalar"; seed?: number },
): Promise<Merged> {
  const random = randomFrom(seed ?? 0);
  const delay = seed === undefined ? {} : { delay: jitter(random) };
  const operands = parents.map(
    ({ weight, scale }, i): Operand =>
      operandOf("abcd"[i]!, weight, { block: BLOCK, ...delay, ...(scale ? { scale } : {}) }),
  );
  const elements = parents[0]!.weight.shape.reduce((product, dim) => product * dim, 1);
  const bytes = new Uint8Array(elements * { F8_E4M3: 1, BF16: 2, F16: 2, F32: 4 }[dtype]);
  const heap = new Heap(HEAP_BYTES);
  const mark = heap.mark();
  const scales = await mergeTensor(
    operands,
    weights,
    { dtype, block: BLOCK, powerOfTwo: false },
    {
      kernels: KERNELS[kernels],
      heap,
      // A slow disk: bytes are taken only after a while, and must be the same then.
      emit: async (piece, offset) => {
        await delay.delay?.();
        bytes.set(piece, offset);
      },
    },
  );
  assert.equal(heap.mark(), mark, "heap was not released");
  return { bytes, scales };
}

function expected(
  parents: readonly Parent[],
  weights: readonly number[],
  dtype: "f8_e4m3" | "bf16" | "f16" | "f32",
): Merged {
  const child = referenceChild({
    parents: parents.map(
      ({ weight, scale }) => new Map([["w", weight], ...(scale ? [["w_scale_inv", scale] as const] : [])]),
    ),
    base: 0,
    rules: [{ selects: () => true, weights: () => [...weights], measure: "rms" }],
    dtype,
    block: BLOCK,
    powerOfTwo: false,
    quantizable: () => true,
    keepsF32: () => false,
  });
  const scale = child.get("w_scale_inv")?.bytes.slice();
  return { bytes: child.get("w")!.bytes, scales: scale && new Float32Array(scale.buffer) };
}

function assertEqual(actual: Merged, wanted: Merged): void {
  assert.equal(Buffer.compare(actual.bytes, wanted.bytes), 0, "bytes");
  assert.deepEqual(actual.scales, wanted.scales, "scales");
}

describe("mergeTensor()", () => {
  for (const [name, shape] of Object.entries({
    "ragged rows and columns": [300, 257],
    "a row": [1, 1000],
    "a column": [1000, 1],
    "fused experts": [3, 130, 129],
    "many tiny matrices": [40, 2, 3],
  })) {
    test(`${name}, four dtypes of parents, reads and writes out of turn, exact`, async () => {
      const parents = [
        parent(1, "F8_E4M3", shape, "F32"),
        parent(2, "BF16", shape),
        parent(3, "F8_E5M2", shape, "F8_E8M0"),
        parent(4, "F8_E4M3", shape, "BF16"),
      ];
      const weights = [0.25, -0.5, 1.3, 0.1];
      for (const seed of [1, 2]) {
        assertEqual(
          await merge(parents, weights, { dtype: "F8_E4M3", seed }),
          expected(parents, weights, "f8_e4m3"),
        );
      }
      assertEqual(
        await merge(parents, weights, { dtype: "F32", seed: 3 }),
        expected(parents, weights, "f32"),
      );
    });
  }

  test("a matrix of many pieces, reads and writes out of turn, exact", async () => {
    const shape = [2800, 300]; // four pieces of 3 MiB
    const parents = [parent(1, "F32", shape), parent(2, "F32", shape)];
    assertEqual(
      await merge(parents, [0.3, 0.7], { dtype: "F32", seed: 5 }),
      expected(parents, [0.3, 0.7], "f32"),
    );
  });

  test("a matrix so wide that it is cut into strips, exact", async () => {
    const shape = [129, 13_500];
    const parents = [parent(1, "F32", shape), parent(2, "F32", shape), parent(3, "F8_E4M3", shape, "F32")];
    const bytesPerElement = 4 + 4 + 1 + 1;
    const pieces = [...cut({ shape, block: BLOCK, banded: true, bytesPerElement })];
    assert.ok(pieces.some(({ cols, width }) => cols < width));
    const weights = [0.2, 0.5, 0.3];
    assertEqual(await merge(parents, weights, { dtype: "F8_E4M3" }), expected(parents, weights, "f8_e4m3"));
  });

  test("a scale per row and more than 65,536 scales, exact", async () => {
    const shape = [2, 70_000];
    const block = { rows: 1, cols: 2 };
    const random = randomFrom(4);
    const weight = tensor("w", "F8_E4M3", shape, { random });
    const scale = tensor("w_scale_inv", "BF16", [2, 35_000], { random, positive: true });
    const operands = ["a", "b"].map((owner) => operandOf(owner, weight, { scale, block }));
    const heap = new Heap(HEAP_BYTES);
    const bytes = new Uint8Array(4 * 140_000);
    await mergeTensor(
      operands,
      [0.5, 0.25],
      { dtype: "F32", block, powerOfTwo: false },
      {
        kernels: KERNELS.wasm,
        heap,
        emit: async (piece, offset) => bytes.set(piece, offset),
      },
    );
    const child = referenceChild({
      parents: [0, 1].map(
        () =>
          new Map([
            ["w", weight],
            ["w_scale_inv", scale],
          ]),
      ),
      base: 0,
      rules: [{ selects: () => true, weights: () => [0.5, 0.25], measure: "rms" }],
      dtype: "f32",
      block,
      powerOfTwo: false,
      quantizable: () => true,
      keepsF32: () => false,
    });
    assert.equal(Buffer.compare(bytes, child.get("w")!.bytes), 0);
  });

  test("nothing for a tensor without elements", async () => {
    const none = [parent(1, "F8_E4M3", [0, 5], "F32"), parent(2, "F8_E4M3", [0, 5], "F32")];
    const { bytes, scales } = await merge(none, [0.5, 0.5], { dtype: "F8_E4M3" });
    assert.deepEqual([bytes.length, scales?.length], [0, 0]);
  });

  test("a failing read or write is passed on, and the heap released", async () => {
    const source = parent(1, "F32", [3000, 300]);
    for (const failing of ["read", "emit"] as const) {
      const operand = operandOf("a", source.weight, { block: BLOCK });
      let calls = 0;
      const fail = async () => {
        if (++calls === 3) throw new Error(`${failing} failed`);
      };
      if (failing === "read") {
        const read = operand.source.read.bind(operand.source);
        operand.source.read = async (into, offset) => {
          await fail();
          await read(into, offset);
        };
      }
      const heap = new Heap(HEAP_BYTES);
      const mark = heap.mark();
      const emit = failing === "emit" ? fail : async () => {};
      const made = mergeTensor(
        [operand],
        [2],
        { dtype: "F32", block: BLOCK, powerOfTwo: false },
        { kernels: KERNELS.wasm, heap, emit },
      );
      await assert.rejects(made, { message: `${failing} failed` });
      assert.equal(heap.mark(), mark);
    }
  });

  test("a failing read is passed on when no other one writes to the heap any more", async () => {
    let isWriting = false;
    const slow = async () => {
      isWriting = true;
      await new Promise((resolve) => setTimeout(resolve, 20));
      isWriting = false;
    };
    const { weight } = parent(1, "F32", [30, 300]);
    const operands = [
      operandOf("a", weight, { block: BLOCK, delay: () => Promise.reject(new Error("a failed")) }),
      operandOf("b", weight, { block: BLOCK, delay: slow }),
    ];
    const environment = { kernels: KERNELS.wasm, heap: new Heap(HEAP_BYTES), emit: async () => {} };
    const result = { dtype: "F32", block: BLOCK, powerOfTwo: false } as const;
    await assert.rejects(mergeTensor(operands, [1, 1], result, environment), { message: "a failed" });
    assert.equal(isWriting, false);
  });

  test("scales that cannot be read leave nothing of theirs in the heap", async () => {
    const { weight, scale } = parent(1, "F8_E4M3", [130, 130], "BF16");
    const operand = operandOf("a", weight, { block: BLOCK, scale: scale! });
    operand.scale!.source.read = () => Promise.reject(new Error("read failed"));
    const heap = new Heap(HEAP_BYTES);
    const mark = heap.mark();
    await assert.rejects(readScales(operand, KERNELS.wasm, heap), { message: "read failed" });
    assert.equal(heap.mark(), mark);
  });

  for (const kernels of ["wasm", "scalar"] as const) {
    describe(`what is not finite (${kernels})`, () => {
      const shape = [140, 150];
      const at = 131 * 150 + 149; // [131, 149], in the last block
      const fp8 = (seed: number) => parent(seed, "F8_E4M3", shape, "F32");
      const cases: [string, Parent[], MergeResultType["dtype"], RegExp][] = [
        [
          "a NaN code",
          [fp8(1), { ...fp8(2), weight: poke(fp8(2).weight, at, 0x7f) }],
          "F8_E4M3",
          /"w": element \[131, 149\] of parent "b" in "weights.safetensors" is not finite/,
        ],
        [
          "a negative NaN code",
          [{ ...fp8(1), weight: poke(fp8(1).weight, at, 0xff) }, fp8(2)],
          "BF16",
          /element \[131, 149\] of parent "a"/,
        ],
        [
          "a BF16 infinity",
          [fp8(1), { weight: poke(parent(2, "BF16", shape).weight, at, 0x7f80) }],
          "F8_E4M3",
          /element \[131, 149\] of parent "b"/,
        ],
        [
          "an F32 NaN",
          [{ weight: poke(parent(1, "F32", shape).weight, at, 0x7fc00000) }],
          "F32",
          /element \[131, 149\] of parent "a"/,
        ],
        [
          "an F16 infinity",
          [{ weight: poke(parent(1, "F16", shape).weight, at, 0xfc00) }],
          "BF16",
          /element \[131, 149\] of parent "a"/,
        ],
        [
          "an E5M2 infinity",
          [
            {
              ...parent(1, "F8_E5M2", shape, "F32"),
              weight: poke(parent(1, "F8_E5M2", shape, "F32").weight, at, 0x7c),
            },
          ],
          "F8_E4M3",
          /element \[131, 149\] of parent "a"/,
        ],
      ];
      for (const [name, parents, dtype, message] of cases) {
        test(`${name} names tensor, parent and element`, async () => {
          const made = merge(
            parents,
            parents.map(() => 0.5),
            { dtype, kernels },
          );
          await assert.rejects(made, (error: CheckpointError) => {
            assert.ok(error instanceof CheckpointError);
            assert.equal(error.code, "not-finite");
            assert.match(error.message, message);
            return true;
          });
        });
      }

      test("a code times its scale beyond float32 names tensor, parent and element", async () => {
        const { weight, scale } = fp8(1);
        const huge = { weight: poke(weight, at, 0x7e), scale: poke(scale!, 3, 0x7f7fffff) };
        await assert.rejects(merge([fp8(2), huge], [0.5, 0.5], { dtype: "F8_E4M3", kernels }), {
          name: "CheckpointError",
          message:
            /^Cannot use "w": element \[1\d\d, 1\d\d\] of parent "b" in "weights.safetensors" is not finite times its scale, wanted a finite number$/,
        });
      });

      for (const [dtype, value, weight, shown] of [
        ["F16", 1e6, 1, "1000000"],
        ["BF16", 3.4e38, 1, "3.39\\d+e\\+38"],
        ["F32", 3e38, 2, "Infinity"],
        ["F8_E4M3", 3e38, 2, "Infinity"],
      ] as const) {
        test(`a result beyond ${dtype} names tensor and element, and what the parents hold`, async () => {
          const view = new DataView(new ArrayBuffer(4));
          view.setFloat32(0, value);
          const large = { weight: poke(parent(1, "F32", shape).weight, at, view.getUint32(0)) };
          await assert.rejects(
            merge([large, parent(2, "F32", shape)], [weight, 0.5], { dtype, kernels }),
            (error: BuildError) => {
              assert.ok(error instanceof BuildError);
              assert.match(
                error.message,
                new RegExp(
                  `^Cannot merge "w": element \\[131, 149\\] comes to ${shown}, beyond the range of ${dtype}`,
                ),
              );
              assert.match(error.note!, /^All parents are finite there \([\d.e+]+ in "a", [-\d.e]+ in "b"\)/);
              return true;
            },
          );
        });
      }

      for (const [name, bits] of Object.entries({
        "0": 0,
        "-0": 0x80000000,
        "-1": 0xbf800000,
        NaN: 0x7fc00000,
        Infinity: 0x7f800000,
      })) {
        test(`a scale of ${name} names tensor, parent and block`, async () => {
          const { weight, scale } = fp8(1);
          await assert.rejects(
            merge([fp8(2), { weight, scale: poke(scale!, 3, bits) }], [0.5, 0.5], {
              dtype: "F8_E4M3",
              kernels,
            }),
            {
              name: "CheckpointError",
              code: "bad-scale",
              message: `Cannot use "w": block [1, 1] of its scale in parent "b" (scales.safetensors) is ${Object.is(Number(name), -0) ? "0" : name}, wanted a finite number above 0`,
            },
          );
        });
      }

      test("a scale of fused experts is named by its matrix too", async () => {
        const fused = parent(1, "F8_E4M3", [2, 140, 150], "F8_E8M0");
        const broken = { ...fused, scale: poke(fused.scale!, 7, 0xff) };
        await assert.rejects(
          merge([broken], [0.5], { dtype: "BF16", kernels }),
          /block \[1, 1, 1\] of its scale in parent "a" .* is NaN/,
        );
      });
    });
  }
});
