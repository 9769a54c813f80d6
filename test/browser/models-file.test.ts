import assert from "node:assert/strict";
import { test } from "node:test";
import { parseModelsFile } from "../../src/browser/models-file.ts";

const FILE = { name: "config.json", byteLength: 2, sha256: "0".repeat(64) };
const CHECKPOINT = { location: "/models/a", url: "models/a/", files: [FILE] };
const MODELS = { format: "chimera-models", version: 1, checkpoints: [CHECKPOINT] };

test("parseModelsFile() gives what it reads", () => {
  assert.deepEqual(parseModelsFile(JSON.stringify(MODELS), "models.json"), MODELS);
});

const REFUSED: [string, unknown, RegExp][] = [
  ["another format", { ...MODELS, format: "x" }, /its format is another, wanted "chimera-models"$/],
  ["no object", null, /its format is another/],
  ["another version", { ...MODELS, version: 2 }, /its version is 2, wanted 1$/],
  ["no list", { ...MODELS, checkpoints: {} }, /it has no list of checkpoints$/],
  ["a checkpoint that is null", { ...MODELS, checkpoints: [null] }, /a checkpoint has no location and url$/],
  [
    "a relative location",
    { ...MODELS, checkpoints: [{ ...CHECKPOINT, location: "a" }] },
    /no location and url$/,
  ],
  [
    "no files",
    { ...MODELS, checkpoints: [{ ...CHECKPOINT, files: undefined }] },
    /"\/models\/a" has a file without/,
  ],
  [
    "a size that is none",
    withFile({ ...FILE, byteLength: 1.5 }),
    /has a file without name, byteLength and sha256$/,
  ],
  ["a hash that is none", withFile({ ...FILE, sha256: "ABC" }), /has a file without/],
  ["a name that leads elsewhere", withFile({ ...FILE, name: "../x" }), /has a file without/],
];

function withFile(file: unknown): unknown {
  return { ...MODELS, checkpoints: [{ ...CHECKPOINT, files: [file] }] };
}

for (const [what, content, message] of REFUSED) {
  test(`parseModelsFile() refuses ${what}`, () => {
    assert.throws(() => parseModelsFile(JSON.stringify(content), "models.json"), {
      name: "CheckpointError",
      code: "models-json",
      message,
    });
  });
}

test("parseModelsFile() refuses what is no JSON", () => {
  assert.throws(
    () => parseModelsFile("<html>", "models.json"),
    /^CheckpointError: Cannot read "models.json": it is not JSON/,
  );
});
