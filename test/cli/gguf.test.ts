/** The command line on GGUF files: converting, looking, stitching, asking; and what it refuses. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { runMain } from "./run-main.ts";

const folder = temporaryFolder({ after });
const at = (name: string) => join(folder, name);

const RECIPE = `version: 1
parents: { v3: ./v3.gguf, r1: ./r1.gguf }
base: v3
rules:
  - tensors: routed-experts
    weights: { r1: 1 }
chat_template: r1
`;

before(() => {
  for (const name of ["v3", "r1"]) {
    const { status, stderr } = runMain(
      "convert",
      `models/mini-${name}`,
      "-o",
      at(`${name}.gguf`),
      "--type",
      "q8_0",
    );
    assert.equal(status, 0, stderr);
  }
  writeFileSync(at("r1t.yaml"), RECIPE);
});

describe("chimera convert", () => {
  test("says what it wrote, and what it left out", () => {
    const { status, stdout, stderr } = runMain("convert", "models/mini-r1", "-o", at("some.gguf"));
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^70 tensors \(47 BF16, 23 F32\), 3\.69 MB\nwritten {2}.*some\.gguf\n$/);
    assert.match(stderr, /left out: 68 tensors have no place in the file, as "model\.layers\.4\./);
    assert.equal(readFileSync(at("some.gguf")).length, 3_690_560);
  });

  test("--dry-run --json writes nothing", () => {
    const { status, stdout } = runMain(
      "convert",
      "models/mini-r1",
      "-o",
      at("dry.gguf"),
      "--dry-run",
      "--json",
    );
    assert.equal(status, 0);
    const { bytes, dryRun, leftOut, types } = JSON.parse(stdout);
    assert.deepEqual([bytes, dryRun, leftOut.length, types], [3_690_560, true, 68, { BF16: 47, F32: 23 }]);
    assert.equal(existsSync(at("dry.gguf")), false);
  });

  test("a recipe's child is the file of the stitched one", () => {
    // Its name is in the file, so both are called child.gguf.
    const other = temporaryFolder({ after });
    assert.equal(
      runMain("convert", "recipes/mini/r1t.yaml", "-o", join(other, "child.gguf"), "--type", "q8_0").status,
      0,
    );
    const { status, stdout, stderr } = runMain("build", at("r1t.yaml"), "-o", at("child.gguf"));
    assert.equal(status, 0, stderr);
    assert.match(
      stdout,
      /v3 \(base\) +61 +[\d.]+ kB\nr1 +9 +[\d.]+ MB\n70 tensors, .* every block as its parent has it\nbuilt /,
    );
    const template = /chat_template: (\w+)/.exec(readFileSync("recipes/mini/r1t.yaml", "utf8"))?.[1];
    assert.equal(template, "r1");
    assert.ok(readFileSync(at("child.gguf")).equals(readFileSync(join(other, "child.gguf"))));
  });

  const refusals: [what: string, args: string[], status: number, message: RegExp][] = [
    [
      "a file that is there",
      ["models/mini-v3", "-o", "r1.gguf"],
      2,
      /it is there already, wanted a new name\n.*--force replaces it/,
    ],
    ["another ending", ["models/mini-v3", "-o", "r1.bin"], 2, /its name does not end in \.gguf/],
    ["a folder that is not there", ["models/mini-v3", "-o", "no/r1.gguf"], 2, /its folder is not there/],
    ["a model that is not there", ["models/none", "-o", "x.gguf"], 3, /there is no such file or folder/],
    [
      "a type that is not written",
      ["models/mini-v3", "-o", "x.gguf", "--type", "q4_k"],
      2,
      /Allowed choices are q8_0, bf16, f16, f32/,
    ],
  ];
  for (const [what, [model, , output, ...rest], status, message] of refusals) {
    test(`refuses ${what}`, () => {
      const result = runMain("convert", model!, "-o", at(output!), ...rest);
      assert.equal(result.status, status);
      assert.match(result.stderr, message);
    });
  }
});

describe("chimera build -o CHILD.gguf", () => {
  test("--dry-run --json tells, and writes nothing", () => {
    const { status, stdout } = runMain("build", at("r1t.yaml"), "-o", at("dry.gguf"), "--dry-run", "--json");
    assert.equal(status, 0);
    const { parents, tensors } = JSON.parse(stdout);
    assert.deepEqual(
      [tensors, parents.map(({ tensors: count }: { tensors: number }) => count)],
      [70, [61, 9]],
    );
    assert.equal(existsSync(at("dry.gguf")), false);
  });

  test("refuses parents that are no GGUF files, and says which command is meant", () => {
    const { status, stderr } = runMain("build", "recipes/mini/r1t.yaml", "-o", at("x.gguf"));
    assert.equal(status, 2);
    assert.match(stderr, /the parents are no GGUF files\n.*chimera convert recipes\/mini\/r1t\.yaml -o /);
  });

  test("refuses a blend and parts", () => {
    writeFileSync(at("half.yaml"), RECIPE.replace("r1: 1", "r1: 0.5"));
    const blend = runMain("build", at("half.yaml"), "-o", at("x.gguf"));
    assert.equal(blend.status, 2);
    assert.match(
      blend.stderr,
      /it would be 0\.5 of "v3" \+ 0\.5 of "r1", wanted one parent with the weight 1/,
    );
    const part = runMain("build", at("r1t.yaml"), "-o", at("x.gguf"), "--part", "0/2");
    assert.equal(part.status, 2);
    assert.match(part.stderr, /a GGUF is written in one go/);
    assert.equal(existsSync(at("x.gguf")), false);
  });
});

test("chimera inspect FILE.gguf tells types as stored and as read", () => {
  const { status, stdout } = runMain("inspect", at("r1.gguf"));
  assert.equal(status, 0);
  assert.match(stdout, /^r1\.gguf {2}DeepSeek-V3 · GGUF · one file\n/);
  assert.match(stdout, /Q8_0 +47 /);
  assert.match(stdout, /router +3 F32, 3 F32|router +6 F32/);
  assert.match(stdout, /routed-experts +9 Q8_0/);
});

test("chimera generate FILE.gguf answers as the checkpoint does", () => {
  const ask = (model: string) =>
    runMain("generate", model, "-p", "What is 17 + 25?", "--temperature", "0").stdout;
  assert.match(ask(at("r1.gguf")), /42/);
  assert.equal(ask(at("r1.gguf")), ask("models/mini-r1"));
});

test("a damaged GGUF ends with 3", () => {
  writeFileSync(at("cut.gguf"), readFileSync(at("r1.gguf")).subarray(0, 1_000_000));
  const { status, stderr } = runMain("inspect", at("cut.gguf"));
  assert.equal(status, 3);
  assert.match(
    stderr,
    /its data ends at byte [\d,]+, the file holds 1,000,000\n.*The download may be partial/,
  );
});
