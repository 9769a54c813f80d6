/** The suite of the inference kernels over the scalar reference. */
import { createScalarInference } from "../../src/kernels/inference-scalar.ts";
import { attentionSuite } from "./inference-attention.case.ts";
import { elementSuite } from "./inference-elements.case.ts";
import { int8Suite } from "./inference-int8.case.ts";
import { linearSuite } from "./inference-linear.case.ts";

linearSuite("scalar", createScalarInference);
attentionSuite("scalar", createScalarInference);
elementSuite("scalar", createScalarInference);
int8Suite("scalar", createScalarInference);
