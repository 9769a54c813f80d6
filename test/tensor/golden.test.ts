/** The reference codecs against every golden tensor of test/golden/codec. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import {
  E4M3_VALUES,
  E5M2_VALUES,
  encodeE4m3,
  encodeE5m2,
  encodeUe8m0Ceil,
  UE8M0_VALUES,
} from "../../src/tensor/float8.ts";
import { decodeF16, encodeBf16, encodeF16 } from "../../src/tensor/float16.ts";
import { assertSameFloats, goldenBytes, goldenFloats, goldenNames, goldenWords } from "./golden.ts";

const used = new Set<string>();
function noted(name: string): string {
  used.add(name);
  return name;
}
const floats = (name: string) => goldenFloats(noted(name));
const bytes = (name: string) => goldenBytes(noted(name));
const words = (name: string) => goldenWords(noted(name));

after(() => assert.deepEqual([...used].sort(), [...goldenNames].sort(), "golden tensors without a test"));

test("E4M3_VALUES, E5M2_VALUES and UE8M0_VALUES are the golden values", () => {
  assertSameFloats(E4M3_VALUES, floats("e4m3.decode"), "E4M3_VALUES");
  assertSameFloats(E5M2_VALUES, floats("e5m2.decode"), "E5M2_VALUES");
  assertSameFloats(UE8M0_VALUES, floats("ue8m0.decode"), "UE8M0_VALUES");
});

const isNan8 = (code: number, nanFrom: number) => (code & 0x7f) >= nanFrom;

/** Codes equal; any NaN for a NaN, but of the same sign. */
function checkFloat8(
  encode: (value: number) => number,
  inputs: Float32Array,
  { expected, nanFrom }: { expected: Uint8Array; nanFrom: number },
): void {
  for (const [index, value] of inputs.entries()) {
    const [code, golden] = [encode(value), expected[index]!];
    if (Number.isNaN(value)) {
      assert.ok(isNan8(code, nanFrom) && isNan8(golden, nanFrom), `NaN (element ${index}) became ${code}`);
      assert.equal(code & 0x80, golden & 0x80, `sign of NaN (element ${index})`);
    } else assert.equal(code, golden, `${value} (element ${index})`);
  }
}

test("encodeE4m3() gives the golden codes, saturating and not", () => {
  const inputs = floats("e4m3.encode.input");
  checkFloat8((value) => encodeE4m3(value), inputs, {
    expected: bytes("e4m3.encode.saturating"),
    nanFrom: 0x7f,
  });
  checkFloat8((value) => encodeE4m3(value, "format"), inputs, {
    expected: bytes("e4m3.encode.nonsaturating"),
    nanFrom: 0x7f,
  });
});

test("encodeE5m2() gives the golden codes, saturating and IEEE", () => {
  const inputs = floats("e5m2.encode.input");
  checkFloat8((value) => encodeE5m2(value), inputs, {
    expected: bytes("e5m2.encode.saturating"),
    nanFrom: 0x7d,
  });
  checkFloat8((value) => encodeE5m2(value, "format"), inputs, {
    expected: bytes("e5m2.encode.ieee"),
    nanFrom: 0x7d,
  });
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
  const codes = Uint8Array.from(floats("ue8m0.ceil.input"), encodeUe8m0Ceil);
  assert.deepEqual(codes, bytes("ue8m0.ceil.output"));
});
