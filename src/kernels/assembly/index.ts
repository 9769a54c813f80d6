// Everything the WASM module exports. Kernels take pointers and numbers and have no data of their
// own: the host lays out the memory (kernels/wasm.ts). Strict SIMD only: kept bytes must not depend
// on the CPU, so nothing relaxed may enter here.

export {
  mergeBandE4m3,
  mergeMany,
  mergePair,
  mergeRows,
} from "./merge";
// Constants that must not be folded; merge.ts says why.
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
