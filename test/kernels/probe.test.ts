import assert from "node:assert/strict";
import { test } from "node:test";
import { createKernels } from "../../src/kernels/probe.ts";

test("createKernels() takes WASM where the engine has SIMD, as Node 20 does", () => {
  assert.equal(createKernels(65536).name, "wasm");
  assert.equal(createKernels(65536, "wasm").name, "wasm");
});

test("createKernels() gives the reference when it is asked for", () => {
  const kernels = createKernels(100_000, "scalar");
  assert.equal(kernels.name, "scalar");
  assert.ok(kernels.bytes.length >= 100_000);
});

test("createKernels() gives each caller a heap of its own", () => {
  for (const choice of ["wasm", "scalar"] as const) {
    const [a, b] = [createKernels(65536, choice), createKernels(65536, choice)];
    a.bytes[100] = 7;
    assert.equal(b.bytes[100], 0);
  }
});
