/** Relaxed SIMD, for INT8 weights alone: everything else is strict. */
import { setFlagsFromString } from "node:v8";
import { hasRelaxedSimd } from "../kernels/inference-wasm.ts";

/**
 * Makes relaxed SIMD usable where it can be, for this thread and those that are started after it; whether it is.
 * Node 22 and later have it. Node 20 and 21 have it behind a flag of V8, which can be set at any time before a
 * module that needs it is compiled; it changes nothing for other modules. Without it INT8 is multiplied by plain
 * SIMD, to the same bits.
 */
export function enableRelaxedSimd(): boolean {
  const major = Number(process.versions.node.split(".")[0]);
  if (!hasRelaxedSimd() && (major === 20 || major === 21)) {
    setFlagsFromString("--experimental-wasm-relaxed-simd");
  }
  return hasRelaxedSimd();
}
