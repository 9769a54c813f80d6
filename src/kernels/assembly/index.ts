// Everything the WASM module exports. Kernels take pointers and numbers and have no data of their
// own: the host lays out the memory (kernels/wasm.ts). Strict SIMD only: kept bytes must not depend
// on the CPU, so nothing relaxed may enter here.

export {
  ABS_MASK, EXPONENT_MASK, LEAST_EXPONENT, mergeBandE4m3, mergePair, mergeRows, NAN_CODE, PACKED_BIAS,
  RAW_MASK, SIGN_MASK, STEP_SHIFT,
} from "./merge";
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
