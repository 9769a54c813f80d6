import { createWasmKernels } from "../../src/kernels/wasm.ts";
import { measureSuite } from "./measure.case.ts";
import { mergeSuite } from "./merge.case.ts";
import { mergeEdgeSuite } from "./merge-edges.case.ts";

mergeSuite("wasm", createWasmKernels);
mergeEdgeSuite("wasm", createWasmKernels);
measureSuite("wasm", createWasmKernels);
