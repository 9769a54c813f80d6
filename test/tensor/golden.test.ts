/** The reference codecs against every golden tensor of test/golden/codec. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { decodeF16, encodeBf16, encodeF16 } from "../../src/tensor/float16.ts";
import {
  E4M3_VALUES,
  E5M2_VALUES,
  encodeE4m3,
  encodeE5m2,
  encodeUe8m0Ceil,
  UE8M0_VALUES,
} from "../../src/tensor/float8.ts";
import { assertSameFloats, goldenBytes, goldenFloats, goldenNames, goldenWords } from "./golden.ts";

const used = new Set<string>();
const floats = (name: string) => goldenFloats((used.add(name), name));
const bytes = (name: string) => goldenBytes((used.add(name), name));
const words = (name: string) => goldenWords((used.add(name), name));

after(() => assert.deepEqual([...used].sort(), [...goldenNames].sort(), "golden tensors without a test"));

test("E4M3_VALUES, E5M2_VALUES and UE8M0_VALUES are the golden values", () => {
  assertSameFloats(E4M3_VALUES, floats("e4m3.decode"), "E4M3_VALUES");
  assertSameFloats(E5M2_VALUES, floats("e5m2.decode"), "E5M2_VALUES");
  assertSameFloats(UE8M0_VALUES, floats("ue8m0.decode"), "UE8M0_VALUES");
});

/** FP8: bits equal, the sign of NaN included. */
function checkFloat8(encode: (value: number) => number, inputs: Float32Array, expected: Uint8Array): void {
  for (const [index, value] of inputs.entries()) {
    assert.equal(encode(value), expected[index], `${value} (element ${index})`);
  }
}

test("encodeE4m3() gives the golden codes, saturating and not", () => {
  const inputs = floats("e4m3.encode.input");
  checkFloat8((value) => encodeE4m3(value), inputs, bytes("e4m3.encode.saturating"));
  checkFloat8((value) => encodeE4m3(value, "format"), inputs, bytes("e4m3.encode.nonsaturating"));
});

test("encodeE5m2() gives the golden codes, saturating and IEEE", () => {
  const inputs = floats("e5m2.encode.input");
  checkFloat8((value) => encodeE5m2(value), inputs, bytes("e5m2.encode.saturating"));
  checkFloat8((value) => encodeE5m2(value, "format"), inputs, bytes("e5m2.encode.ieee"));
});

test("encodeBf16() gives the golden codes, any NaN for a NaN", () => {
  const expected = words("bf16.encode.output");
  for (const [index, value] of floats("bf16.encode.input").entries()) {
    const code = encodeBf16(value);
    if (Number.isNaN(value)) assert.ok((code & 0x7fff) > 0x7f80, `NaN (element ${index}) became ${code}`);
    else assert.equal(code, expected[index], `${value} (element ${index})`);
  }
});

test("encodeF16() gives the golden codes, any NaN for a NaN", () => {
  const expected = words("f16.encode.output");
  for (const [index, value] of floats("f16.encode.input").entries()) {
    const code = encodeF16(value);
    if (Number.isNaN(value)) assert.ok((code & 0x7fff) > 0x7c00, `NaN (element ${index}) became ${code}`);
    else assert.equal(code, expected[index], `${value} (element ${index})`);
  }
});

test("decodeF16() gives the golden values", () => {
  const values = Float32Array.from(words("f16.decode.codes"), decodeF16);
  assertSameFloats(values, floats("f16.decode.output"), "decodeF16()");
});

test("encodeUe8m0Ceil() gives the golden codes, subnormal and huge inputs included", () => {
  checkFloat8(encodeUe8m0Ceil, floats("ue8m0.ceil.input"), bytes("ue8m0.ceil.output"));
});
