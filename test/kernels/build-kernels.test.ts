/** The embedded module is what the sources give, byte for byte, and holds nothing that depends on the CPU. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import binaryen from "binaryen";
import { WASM_BASE64 as INFERENCE } from "../../src/kernels/inference-binary.ts";
import { WASM_BASE64 as RELAXED } from "../../src/kernels/relaxed-binary.ts";
import { WASM_BASE64 as MERGE } from "../../src/kernels/wasm-binary.ts";

interface BuildScript {
  compileKernels(name: string): Promise<Uint8Array>;
  digestFile(name: string): string;
}

const EMBEDDED = {
  merge: Buffer.from(MERGE, "base64"),
  inference: Buffer.from(INFERENCE, "base64"),
  relaxed: Buffer.from(RELAXED, "base64"),
};
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

for (const [name, embedded] of Object.entries(EMBEDDED)) {
  describe(`compileKernels() of ${name}`, () => {
    let script: BuildScript;
    let compiled: Uint8Array;
    before(async () => {
      // By its path from the root: the script is not compiled along with the tests.
      script = (await import(pathToFileURL(resolve("scripts/build-kernels.mjs")).href)) as BuildScript;
      compiled = await script.compileKernels(name);
    });

    test(`compileKernels() of ${name} gives the bytes that kernels.sha256 names`, () => {
      assert.equal(sha256(compiled), readFileSync(script.digestFile(name), "utf8").trim());
    });

    test(`WASM_BASE64 of ${name} holds those bytes`, () => {
      assert.equal(sha256(embedded), sha256(compiled));
    });
  });

  describe(`WASM_BASE64 of ${name}`, () => {
    const text = disassemble(embedded);
    const relaxedIn = (wat: string) => new Set(wat.match(/\w+\.relaxed_\w+/g));

    // The one that is allowed has one result everywhere for the operands it gets (int8.ts).
    const allowed = name === "relaxed" ? ["i16x8.relaxed_dot_i8x16_i7x16_s"] : [];
    test(`WASM_BASE64 of ${name} has no relaxed SIMD instruction but ${allowed.join() || "none"}`, () => {
      const constant = "(v128.const i32x4 1 2 3 4)";
      const relaxed = `(module (func (export "f") (result v128)
        (f32x4.relaxed_madd ${constant} ${constant} ${constant})))`;
      const control = binaryen.parseText(relaxed);
      control.setFeatures(binaryen.Features.All);
      const found = relaxedIn(disassemble(control.emitBinary()));
      assert.deepEqual([...found], ["f32x4.relaxed_madd"], "the pattern would not find one");
      assert.match(text, /f32x4\.mul/, "the text does not look like the kernels");
      assert.deepEqual([...relaxedIn(text)], allowed);
    });

    test(`WASM_BASE64 of ${name} imports nothing but its memory`, () => {
      const imports = text.match(/^ \(import .*$/gm);
      assert.equal(imports?.length, 1);
      assert.match(imports![0]!, /"env" "memory"/);
    });
  });
}

function disassemble(binary: Uint8Array): string {
  const module = binaryen.readBinary(binary);
  const text = module.emitText();
  module.dispose();
  return text;
}
