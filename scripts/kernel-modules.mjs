// The WASM modules: sources, and the file that embeds each. `imports`: folders whose sources go in besides.
export const MODULES = {
  merge: { folder: "src/kernels/assembly", binary: "src/kernels/wasm-binary.ts", imports: [] },
  inference: {
    folder: "src/kernels/assembly-inference",
    binary: "src/kernels/inference-binary.ts",
    imports: ["src/kernels/assembly"],
  },
};
