/**
 * Chooses the kernels: WASM SIMD where the engine has it (every Node from 16.4, every current browser),
 * the scalar reference elsewhere. Both give the same bits.
 */
import type { Kernels } from "./kernels.ts";
import { createScalarKernels } from "./scalar.ts";
import { createWasmKernels, wasmModule } from "./wasm.ts";

/** Kernels with a heap of at least `heapBytes` bytes. */
export function createKernels(heapBytes: number, choice: "auto" | "wasm" | "scalar" = "auto"): Kernels {
  if (choice === "scalar" || (choice === "auto" && !hasSimd())) return createScalarKernels(heapBytes);
  return createWasmKernels(heapBytes);
}

let simd: boolean | undefined;

function hasSimd(): boolean {
  try {
    simd ??= wasmModule() instanceof WebAssembly.Module;
  } catch {
    simd = false; // WebAssembly.CompileError: an engine without SIMD
  }
  return simd;
}
