/** The codecs against golden vectors of the reference library (scripts/make-gguf-cases.py). */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  type DecodedType,
  decodeBlocks,
  encodeBlocks,
  firstUnfit,
  requireDecoded,
} from "../../src/gguf/blocks.ts";
import { decodeF16, encodeF16 } from "../../src/tensor/float16.ts";

interface Cases {
  decoding: Record<DecodedType, { blocks: string; values: string }>;
  encoding: { blocks: string; values: string };
}

const CASES = JSON.parse(
  readFileSync(fileURLToPath(new URL("../../../test/golden/gguf/cases.json", import.meta.url)), "utf8"),
) as Cases;

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, "base64"));
}

function floatsOf(text: string): Float32Array {
  return new Float32Array(bytesOf(text).buffer);
}

describe("decodeBlocks() equals the reference library, bit for bit", () => {
  for (const [type, { blocks, values }] of Object.entries(CASES.decoding)) {
    test(type, () => {
      const found = decodeBlocks(type as DecodedType, bytesOf(blocks));
      assert.deepEqual(new Uint32Array(found.buffer), new Uint32Array(floatsOf(values).buffer));
    });
  }

  test("refuses half a block", () => {
    assert.throws(
      () => decodeBlocks("Q4_K", new Uint8Array(145)),
      /145 bytes of Q4_K, wanted whole blocks of 144/,
    );
  });
});

test("encodeBlocks() as Q8_0 equals the reference library", () => {
  const { values, blocks } = CASES.encoding;
  assert.deepEqual(encodeBlocks("Q8_0", floatsOf(values)), bytesOf(blocks));
});

test("encodeBlocks() as F16 and BF16 inverts decodeBlocks()", () => {
  for (const type of ["F16", "BF16", "F32"] as const) {
    const blocks = bytesOf(CASES.decoding[type].blocks);
    assert.deepEqual(encodeBlocks(type, decodeBlocks(type, blocks)), blocks, type);
  }
});

test("encodeBlocks() as F16 equals encodeF16(), at every step and half-way between steps", () => {
  const values: number[] = [];
  for (let code = 0; code < 0x7c00; code++) {
    const [here, next] = [decodeF16(code), decodeF16(code + 1)];
    const middle = code === 0x7bff ? 65519 : (here + next) / 2;
    values.push(
      here,
      Math.fround(middle),
      Math.fround(middle * (1 + 2 ** -20)),
      -Math.fround(middle * (1 - 2 ** -20)),
    );
  }
  const codes = new Uint16Array(encodeBlocks("F16", Float32Array.from(values)).buffer);
  assert.deepEqual(codes, Uint16Array.from(values, encodeF16));
});

test("firstUnfit() finds what a type cannot hold", () => {
  const at = (type: "F32" | "F16" | "BF16" | "Q8_0", value: number) =>
    firstUnfit(type, Float32Array.of(0, value));
  assert.deepEqual([at("F16", 65504), at("F16", -65519)], [-1, -1]);
  assert.equal(at("F16", 65520), 1);
  assert.equal(at("Q8_0", 1e7), 1);
  for (const type of ["F32", "F16", "BF16", "Q8_0"] as const)
    for (const value of [Number.NaN, Infinity, -Infinity])
      assert.equal(at(type, value), 1, `${value} as ${type}`);
});

test("requireDecoded() refuses a type by name, and says which are read", () => {
  assert.throws(
    () => requireDecoded("IQ2_XXS", { name: "blk.0.ffn_up.weight", file: "x.gguf" }),
    /Cannot decode "blk.0.ffn_up.weight" of "x.gguf": it is IQ2_XXS, wanted F32, F16, BF16, Q8_0, Q4_K, Q5_K or Q6_K/,
  );
});
