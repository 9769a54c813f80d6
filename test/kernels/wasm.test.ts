import assert from "node:assert/strict";
import { test } from "node:test";
import type { Kernels } from "../../src/kernels/kernels.ts";
import { createWasmKernels } from "../../src/kernels/wasm.ts";
import { type BandSpec, makeBand } from "./band-data.ts";
import { codecSuite } from "./codec.case.ts";
import { measureSuite } from "./measure.case.ts";
import { mergeSuite } from "./merge.case.ts";
import { mergeEdgeSuite } from "./merge-edges.case.ts";
import { randomSuite } from "./random.case.ts";
import { checkMerge, runMeasure } from "./run-band.ts";
import { scanSuite } from "./scan.case.ts";

mergeSuite("wasm", createWasmKernels);
mergeEdgeSuite("wasm", createWasmKernels);
measureSuite("wasm", createWasmKernels);
codecSuite("wasm", createWasmKernels);
scanSuite("wasm", createWasmKernels);
randomSuite("wasm", createWasmKernels);

test("createWasmKernels() gives whole pages, at least as many bytes as asked", () => {
  assert.equal(createWasmKernels(1).bytes.length, 65536);
  assert.equal(createWasmKernels(65537).bytes.length, 131072);
  assert.throws(() => createWasmKernels(2 ** 32 + 1), RangeError);
});

const GIB = 2 ** 30;

test("kernels on wasm work beyond 2 GiB, where pointers are negative as i32", (t) => {
  let kernels: Kernels;
  try {
    kernels = createWasmKernels(3 * GIB);
  } catch (error) {
    t.skip(`no 3 GiB heap here: ${(error as Error).message}`);
    return;
  }
  const parent = { dtype: "F8_E4M3", values: "random", scales: "normal", weight: 0.5 } as const;
  const other = { dtype: "BF16", values: "random", scales: undefined, weight: 0.7 } as const;
  const small = createWasmKernels(1 << 20);
  // Just below 2 GiB, so that inputs, scratch and outputs lie on both sides; above it; at the very end.
  for (const base of [2 * GIB - 20_000, 2 * GIB - 3000, 2 * GIB + 64, 3 * GIB - 900_000]) {
    for (const inputs of [[parent], [parent, parent], [parent, parent, parent], [parent, other]]) {
      for (const output of ["F32", "F16", "F8_E4M3"] as const) {
        const spec: BandSpec = {
          ...{ rows: 5, cols: 300, blockCols: 128, powerOfTwo: false, seed: 11 },
          ...{ inputs: [...inputs], output },
        };
        const data = makeBand(spec);
        checkMerge(kernels, data, `base ${base}, ${inputs.length} inputs`, { base });
        if (inputs.length !== 2) continue;
        const zero = { difference: 0, base: 0 };
        assert.deepEqual(runMeasure(kernels, data, zero, { base }), runMeasure(small, data, zero));
      }
    }
  }
  const [a, b, count] = [2 * GIB - 50, 2 * GIB + 4096, 100];
  kernels.bytes.fill(0x40, a, a + count);
  kernels.bytes.fill(0x40, b, b + count);
  assert.equal(kernels.firstDifference(a, b, count), -1);
  kernels.bytes[b + 97] = 0x7f;
  assert.equal(kernels.firstDifference(a, b, count), 97);
  assert.equal(kernels.firstNonFinite("F8_E4M3", b, count), 97);
  kernels.widen("F8_E4M3", a, b, count);
  kernels.narrow("F8_E4M3", b, b + 8192, count);
  assert.equal(kernels.firstDifference(a, b + 8192, count), -1);
  kernels.narrowUe8m0(b, b + 8192, count);
  assert.deepEqual(kernels.bytes.subarray(b + 8192, b + 8192 + count), new Uint8Array(count).fill(128));
});
