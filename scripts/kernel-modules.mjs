// The WASM modules: sources, and the file that embeds each. `imports`: folders whose sources go in besides.
// `features`: what an engine must have.
export const MODULES = {
  merge: {
    folder: "src/kernels/assembly",
    binary: "src/kernels/wasm-binary.ts",
    imports: [],
    features: ["simd"],
  },
  inference: {
    folder: "src/kernels/assembly-inference",
    binary: "src/kernels/inference-binary.ts",
    imports: ["src/kernels/assembly"],
    features: ["simd"],
  },
  relaxed: {
    folder: "src/kernels/assembly-relaxed",
    binary: "src/kernels/relaxed-binary.ts",
    imports: ["src/kernels/assembly-inference", "src/kernels/assembly"],
    features: ["simd", "relaxed-simd"],
  },
};
