// Everything the WASM module of the forward pass exports. Kernels take pointers and numbers and have no
// data of their own: the host lays out the memory (kernels/inference-wasm.ts). Strict SIMD only.

export { combine, softmaxStep } from "./attention";
export { dequantise } from "./decode";
export { addScaled, arrange, firstNonFinite, rmsNorm, rotateHalves, rotateInterleaved, siluMul } from "./elements";
export { linearInt8 } from "./int8";
export { linear } from "./linear";
export { arrangeInt8, dequantiseInt8, quantise } from "./quantise";
export { scratchBytes } from "./tile";
// Constants that must not be folded; decode.ts and exp2.ts say why.
export { RAW_HALVES, UPPER_HALF } from "./decode";
export {
  EXP_HIGHEST,
  EXP_LOWEST,
  HIGHEST,
  INFINITE,
  LN2_HIGH,
  LN2_LOW,
  LOG2_E,
  LOWEST,
  P0,
  P1,
  P2,
  P3,
  P4,
  P5,
  ROUNDER,
  UNIT,
} from "./exp2";
