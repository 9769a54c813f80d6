import { createScalarKernels } from "../../src/kernels/scalar.ts";
import { codecSuite } from "./codec.case.ts";
import { measureSuite } from "./measure.case.ts";
import { mergeSuite } from "./merge.case.ts";
import { mergeEdgeSuite } from "./merge-edges.case.ts";
import { scanSuite } from "./scan.case.ts";

mergeSuite("scalar", createScalarKernels);
mergeEdgeSuite("scalar", createScalarKernels);
measureSuite("scalar", createScalarKernels);
codecSuite("scalar", createScalarKernels);
scanSuite("scalar", createScalarKernels);
