/**
 * Chooses the kernels of the forward pass: WASM SIMD where the engine has it (every Node from 16.4, every
 * current browser), the scalar reference elsewhere. Both give the same bits.
 */
import type { InferenceKernels } from "./inference.ts";
import { createScalarInference } from "./inference-scalar.ts";
import { createWasmInference, inferenceModule } from "./inference-wasm.ts";

/**
 * Kernels with a heap of at least `heapBytes` bytes. `relaxed`: INT8 weights are multiplied by relaxed SIMD,
 * which the engine must have; the reference does without.
 */
export function createInference(
  heapBytes: number,
  choice: "auto" | "wasm" | "scalar" = "auto",
  { relaxed = false }: { relaxed?: boolean } = {},
): InferenceKernels {
  if (choice === "scalar" || (choice === "auto" && !hasSimd())) return createScalarInference(heapBytes);
  return createWasmInference(heapBytes, { relaxed });
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
