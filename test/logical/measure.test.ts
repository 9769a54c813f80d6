import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createKernels } from "../../src/kernels/probe.ts";
import { HEAP_BYTES, Heap } from "../../src/logical/heap.ts";
import { type Distance, distanceOf, identical, measureTensor } from "../../src/logical/measure.ts";
import type { Operand } from "../../src/logical/operand.ts";
import type { Dtype } from "../../src/tensor/dtype.ts";
import { decode } from "../build/reference.ts";
import { elements, poke, randomFrom, tensor } from "../build/support.ts";
import type { TestTensor } from "../support/safetensors.ts";
import { jitter, operandOf, sourceOf } from "./memory-source.ts";

const BLOCK = { rows: 128, cols: 128 };
const KERNELS = { wasm: createKernels(HEAP_BYTES, "wasm"), scalar: createKernels(HEAP_BYTES, "scalar") };

function make(
  owner: string,
  dtype: Dtype,
  shape: number[],
  { seed, scaled = false }: { seed: number; scaled?: boolean },
) {
  const random = randomFrom(seed);
  const weight = tensor("w", dtype, shape, { random });
  const scale = scaled
    ? tensor(
        "s",
        "F32",
        [...shape.slice(0, -2), Math.ceil(shape.at(-2)! / 128), Math.ceil(shape.at(-1)! / 128)],
        { random, positive: true },
      )
    : undefined;
  const delay = jitter(randomFrom(seed + 1));
  return {
    weight,
    scale,
    operand: operandOf(owner, weight, { block: BLOCK, delay, ...(scale ? { scale } : {}) }),
  };
}

function values({ weight, scale }: { weight: TestTensor; scale: TestTensor | undefined }): number[] {
  const plain = decode(weight);
  if (!scale) return plain;
  const [rows, cols] = [weight.shape.at(-2)!, weight.shape.at(-1)!];
  const scales = decode(scale);
  const [down, across] = [Math.ceil(rows / 128), Math.ceil(cols / 128)];
  return plain.map((value, i) => {
    const [row, matrix] = [Math.floor(i / cols) % rows, Math.floor(i / cols / rows)];
    const block = (matrix * down + Math.floor(row / 128)) * across + Math.floor((i % cols) / 128);
    return Math.fround(value * scales[block]!);
  });
}

function measure(
  base: Operand,
  other: Operand,
  kernels: "wasm" | "scalar" = "wasm",
  options = {},
): Promise<Distance> {
  return measureTensor(base, other, { kernels: KERNELS[kernels], heap: new Heap(HEAP_BYTES) }, options);
}

describe("measureTensor()", () => {
  for (const [name, shape] of Object.entries({
    ragged: [300, 257],
    fused: [3, 130, 129],
    row: [1, 5000],
    "many pieces": [4100, 400],
  })) {
    test(`${name}: sums of squares as defined, relative error < 1e-12, the same with both kernels`, async () => {
      const base = make("a", "F8_E4M3", shape, { seed: 1, scaled: true });
      const other = make("b", "BF16", shape, { seed: 2 });
      const [x, y] = [values(base), values(other)];
      let [difference, square] = [0, 0];
      for (const [i, value] of x.entries()) {
        difference += (y[i]! - value) ** 2;
        square += value ** 2;
      }
      const sums = await measure(base.operand, other.operand);
      assert.ok(Math.abs(sums.difference / difference - 1) < 1e-12);
      assert.ok(Math.abs(sums.base / square - 1) < 1e-12);
      assert.equal(sums.elements, elements(shape));
      if (elements(shape) < 1e6) assert.deepEqual(await measure(base.operand, other.operand, "scalar"), sums);
    });
  }

  test("a sample looks at evenly spaced pieces only", async () => {
    const shape = [4000, 600];
    const [base, other] = [make("a", "F32", shape, { seed: 1 }), make("b", "F32", shape, { seed: 2 })];
    const all = await measure(base.operand, other.operand);
    const sample = await measure(base.operand, other.operand, "wasm", { sample: 3 });
    assert.ok(sample.elements < all.elements && sample.elements > 0);
    assert.ok(Math.abs(distanceOf(sample, "rms") / distanceOf(all, "rms") - 1) < 0.01);
    assert.deepEqual(await measure(base.operand, other.operand, "wasm", { sample: 1000 }), all);
  });

  for (const kernels of ["wasm", "scalar"] as const) {
    for (const [dtype, bits] of [
      ["F8_E4M3", 0x7f],
      ["F8_E4M3", 0xff],
      ["F8_E5M2", 0x7c],
      ["BF16", 0x7fc0],
      ["F32", 0xff800000],
      ["F16", 0x7c00],
    ] as const) {
      test(`${dtype} 0x${bits.toString(16)} names parent and element (${kernels})`, async () => {
        const shape = [140, 150];
        const scaled = dtype.startsWith("F8");
        const base = make("a", "BF16", shape, { seed: 1 });
        const { weight, scale } = make("b", dtype, shape, { seed: 2, scaled });
        const broken = operandOf("b", poke(weight, 131 * 150 + 149, bits), {
          block: BLOCK,
          ...(scale ? { scale } : {}),
        });
        for (const [x, y] of [
          [base.operand, broken],
          [broken, base.operand],
        ] as const) {
          await assert.rejects(measure(x, y, kernels), {
            code: "not-finite",
            message: /element \[131, 149\] of parent "b" in "weights.safetensors" is not finite, wanted/,
          });
        }
      });
    }

    test(`a code times its scale beyond float32 is an error, not a distance (${kernels})`, async () => {
      const base = make("a", "F8_E4M3", [140, 150], { seed: 1, scaled: true });
      const huge = operandOf("b", poke(base.weight, 0, 0x7e), {
        block: BLOCK,
        scale: poke(base.scale!, 0, 0x7f7fffff),
      });
      // In both, the difference would be NaN: above no threshold, so the base's bytes would pass for measured.
      await assert.rejects(measure(huge, huge, kernels), {
        code: "not-finite",
        message: /not finite times its scale/,
      });
    });
  }
});

describe("distanceOf()", () => {
  test("rms and relative as defined, with their edges", () => {
    const sums = { difference: 8, base: 32, elements: 2 };
    assert.equal(distanceOf(sums, "rms"), 2);
    assert.equal(distanceOf(sums, "relative"), 0.5);
    assert.equal(distanceOf({ difference: 0, base: 0, elements: 5 }, "relative"), 0);
    assert.equal(distanceOf({ difference: 1, base: 0, elements: 5 }, "relative"), Infinity);
    assert.equal(distanceOf({ difference: 0, base: 0, elements: 0 }, "rms"), 0);
  });
});

describe("identical()", () => {
  const environment = { kernels: KERNELS.wasm, heap: new Heap(HEAP_BYTES) };
  const shape = [1500, 1500];
  const first = make("a", "F8_E4M3", shape, { seed: 1, scaled: true });
  const like = (weight: TestTensor, scale: TestTensor, block = BLOCK) =>
    operandOf("b", weight, { block, scale });

  test("compares weight and scale, to the last byte", async () => {
    const { weight, scale } = first;
    assert.equal(
      await identical([first.operand, like(weight, scale!), like(weight, scale!)], environment),
      true,
    );
    assert.equal(
      await identical(
        [first.operand, like(poke(weight, 1500 * 1500 - 1, weight.bytes.at(-1)! ^ 1), scale!)],
        environment,
      ),
      false,
    );
    assert.equal(await identical([first.operand, like(weight, poke(scale!, 143, 1))], environment), false);
    assert.equal(
      await identical(
        [first.operand, like(weight, scale!), like(poke(weight, 0, weight.bytes[0]! ^ 1), scale!)],
        environment,
      ),
      false,
    );
  });

  test("other types are never identical; a single operand always is", async () => {
    const other = make("b", "BF16", shape, { seed: 1 });
    assert.equal(await identical([first.operand, other.operand], environment), false);
    assert.equal(await identical([first.operand], environment), true);
  });

  test("stops reading at the first difference", async () => {
    const bytes = new Uint8Array(8 << 20);
    const [a, b] = [sourceOf("a", bytes), sourceOf("b", bytes.slice().fill(1, 0, 1))];
    const operand = (source: typeof a): Operand => ({
      ...{ name: "w", owner: source.name, dtype: "F32", shape: [2 << 20], source, offset: 0 },
      ...{ byteLength: bytes.length, block: BLOCK },
    });
    assert.equal(await identical([operand(a), operand(b)], environment), false);
    assert.ok(a.bytesRead <= 1 << 20);
  });
});
