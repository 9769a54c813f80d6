/** A browser has relaxed SIMD or not; there is no flag to set: instead of src/runtime/relaxed-simd.ts. */
import { hasRelaxedSimd } from "../../../kernels/inference-wasm.ts";

export function enableRelaxedSimd(): boolean {
  return hasRelaxedSimd();
}
