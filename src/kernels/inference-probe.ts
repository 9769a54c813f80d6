/**
 * Chooses the kernels of the forward pass: WASM SIMD where the engine has it (every Node from 16.4, every
 * current browser), the scalar reference elsewhere. Both give the same bits.
 */
import type { InferenceKernels } from "./inference.ts";
import { createScalarInference } from "./inference-scalar.ts";
import { createWasmInference, hasRelaxedSimd, inferenceModule } from "./inference-wasm.ts";

/**
 * Kernels with a heap of at least `heapBytes` bytes. `int8`: whether INT8 weights will be multiplied, for which
 * relaxed SIMD is taken where the engine has it.
 */
export function createInference(
  heapBytes: number,
  choice: "auto" | "wasm" | "scalar" = "auto",
  { int8 = false }: { int8?: boolean } = {},
): InferenceKernels {
  if (choice === "scalar" || (choice === "auto" && !hasSimd())) return createScalarInference(heapBytes);
  return createWasmInference(heapBytes, { relaxed: int8 && hasRelaxedSimd() });
}

let simd: boolean | undefined;

function hasSimd(): boolean {
  try {
    simd ??= inferenceModule() instanceof WebAssembly.Module;
  } catch {
    simd = false; // WebAssembly.CompileError: an engine without SIMD
  }
  return simd;
}
