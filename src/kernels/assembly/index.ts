// Everything the WASM module exports. Kernels take pointers and numbers and have no data of their
// own: the host lays out the memory (kernels/wasm.ts). Strict SIMD only: kept bytes must not depend
// on the CPU, so nothing relaxed may enter here.

export { mergePair } from "./merge-pair";
export { mergeMany } from "./merge-many";
export { mergeBandE4m3, mergeRows } from "./merge-rows";
// Constants that must not be folded; merge-fp8.ts says why.
export {
  ABS_MASK,
  EXPONENT_MASK,
  HALF_STEP,
  LEAST_EXPONENT,
  NAN_CODE,
  ONE,
  PACKED_BIAS,
  RAW_MASK,
  SIGN_MASK,
  STEP_SHIFT,
} from "./merge-fp8";
export {
  firstDifference,
  firstNonFinite,
  measureBand,
  narrow,
  narrowUe8m0,
  sumSquares,
  widen,
  widenUe8m0,
} from "./scan";
